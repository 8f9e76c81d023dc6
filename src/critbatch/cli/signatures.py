"""What a public call says of its arguments, read from its source without importing it.

`critbatch train --help` and a shell's completion answer at once, but `critbatch.training` imports torch, which takes
seconds. So the signature and the docstring are parsed, not imported: annotations, defaults and constants are followed
through `from critbatch... import` lines as far as they are literals, enumerations or `Literal[...]`. The package's own
loader reads the sources, so this works in a wheel, too.

The format of a docstring is that of Google: a summary of one line, details, and `Args:` with one entry an argument. The
first sentence of an entry is the help of the option. The part from "Default:" on says what None stands for.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

EMPTY: Any = inspect.Parameter.empty
PLAIN = {"int": int, "float": float, "bool": bool, "str": str, "Path": str}
SEQUENCES = {"Sequence", "list", "tuple"}
ENTRY = re.compile(r"^    (\w+): ", re.MULTILINE)
# A full stop after an abbreviation, as in "et al. 2016", is followed by no capital letter.
FIRST_SENTENCE = re.compile(r".+?[.?](?=\s+[A-Z`\"(]|\s*$)")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument that can be written as text.

    Args:
        kind: int, float, bool or str; of each part, where there are several.
        choices: Values that are possible; empty where all are.
        several: Whether it is a list.
        mapping: Whether it is a mapping from names: to values, or to lists if `several`.
        default: Value, or `EMPTY`.
        help: First sentence of its entry.
        default_text: What the docstring says of the default.
    """

    name: str
    kind: type = str
    choices: tuple[str, ...] = ()
    several: bool = False
    mapping: bool = False
    default: Any = EMPTY
    help: str = ""
    default_text: str = ""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function or a class, as far as its arguments can be written as text."""

    summary: str
    arguments: dict[str, Argument]


@cache
def read_call(place: str) -> Call:
    """Read a public name such as "advise", or a place such as "critbatch.training.trainer:Trainer"."""
    module, name = find_call(place)
    node, scope = _resolve(module, name)
    return _read(node, scope)


def _read(node: Any, scope: str) -> Call:
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    entries = arguments_section(text)
    arguments = {}
    for argument, annotation, default in _parameters(node):
        read = _read_annotation(annotation, scope)
        if read is not None:
            help, default_text = split_default(entries.get(argument, ""))
            value = EMPTY if default is None else _value(default, scope)
            arguments[argument] = Argument(name=argument, **read, default=value, help=help, default_text=default_text)
    for base in node.bases if isinstance(node, ast.ClassDef) else []:
        inherited, place = _resolve(scope, getattr(base, "id", ""))
        if inherited is not None:
            more = _read(inherited, place).arguments
            arguments |= {key: more[key] for key in more if key not in arguments and more[key].default is not EMPTY}
    return Call(summary=text.partition("\n")[0], arguments=arguments)


def find_call(place: str) -> tuple[str, str]:
    """Module and name of a place. Public names are looked up in the stub of the package."""
    if ":" in place:
        module, _, name = place.partition(":")
        return module, name
    return _public_names()[place]


@cache
def _public_names() -> dict[str, tuple[str, str]]:
    stub = pkgutil.get_data("critbatch", "__init__.pyi")
    lines = [node for node in ast.parse(stub or b"").body if isinstance(node, ast.ImportFrom) and node.module]
    return {
        alias.asname or alias.name: (f"critbatch.{node.module}", alias.name) for node in lines for alias in node.names
    }


@cache
def _tree(module: str) -> ast.Module:
    path = module.removeprefix("critbatch").removeprefix(".").replace(".", "/")
    for name in (f"{path}.py", f"{path}/__init__.py"):
        try:
            return ast.parse(pkgutil.get_data("critbatch", name) or b"")
        except OSError:
            continue
    raise ModuleNotFoundError(module)


def _resolve(module: str, name: str) -> tuple[Any, str]:
    """Definition of a name, and the module in which it is; None for what is defined outside of this package."""
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, module
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", None) == name:
            return node.value, module
        if isinstance(node, ast.Assign):
            for target in node.targets:
                names, values = ([target], [node.value])
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    names, values = target.elts, node.value.elts
                for one, value in zip(names, values, strict=True):
                    if getattr(one, "id", None) == name:
                        return value, module
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("critbatch"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _resolve(node.module, alias.name)
    return None, module


def _parameters(node: Any) -> list[tuple[str, ast.expr | None, ast.expr | None]]:
    """Name, annotation and default of each parameter of a function, or of a class's `__init__` or fields."""
    if isinstance(node, ast.ClassDef):
        constructors = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if not constructors:
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
            return [
                (part.target.id, part.annotation, part.value) for part in fields if isinstance(part.target, ast.Name)
            ]
        node = constructors[0]
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = [*[None] * (len(positional) - len(node.args.defaults)), *node.args.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    return [(one.arg, one.annotation, default) for one, default in pairs if one.arg != "self"]


def _read_annotation(node: ast.expr | None, module: str) -> dict[str, Any] | None:
    """Type of an argument; None where it cannot be written as text."""
    parts = [read for part in _union(node) if (read := _read_part(part, module)) is not None]
    for key in ("several", "mapping", "choices"):
        if matching := [read for read in parts if read.get(key)]:
            return matching[0]
    order = [float, int, bool, str]
    return min(parts, key=lambda read: order.index(read["kind"]), default=None)


def _union(node: ast.expr | None) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_union(node.left), *_union(node.right)]
    return [] if node is None else [node]


def _read_part(node: ast.expr, module: str) -> dict[str, Any] | None:
    if isinstance(node, ast.Name) and node.id in PLAIN:
        return {"kind": PLAIN[node.id]}
    if isinstance(node, ast.Name):
        choices = tuple(_members(_resolve(module, node.id)[0]).values())
        return {"kind": str, "choices": choices} if choices else None
    if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
        return None
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if node.value.id == "Literal":
        return {"kind": str, "choices": tuple(str(ast.literal_eval(part)) for part in parts)}
    if node.value.id in SEQUENCES:
        inner = _read_annotation(parts[0], module)
        return {**inner, "several": True} if inner is not None else None
    if node.value.id in ("Mapping", "dict"):
        several = isinstance(parts[1], ast.Subscript)
        return {"kind": str, "mapping": True, "several": several} if _is_textual(parts[1]) else None
    return None


def _is_textual(node: ast.expr) -> bool:
    """Whether a mapping's values are those of options: `Setting`, or a list of them."""
    inner = node.slice if isinstance(node, ast.Subscript) else node
    return isinstance(inner, ast.Name) and inner.id in ("Setting", "OptionValue")


def _members(node: Any) -> dict[str, str]:
    """Members of an enumeration of texts; empty for anything else."""
    if not isinstance(node, ast.ClassDef) or "Enum" not in "".join(ast.unparse(base) for base in node.bases):
        return {}
    lines = [part for part in node.body if isinstance(part, ast.Assign) and isinstance(part.value, ast.Constant)]
    return {getattr(line.targets[0], "id", ""): str(getattr(line.value, "value", "")) for line in lines}


def _value(node: ast.expr, module: str) -> Any:
    """Value of a default: a literal, a constant, or a member of an enumeration as its text."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        pass
    if isinstance(node, ast.Tuple):
        return tuple(_value(part, module) for part in node.elts)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return _members(_resolve(module, node.value.id)[0]).get(node.attr)
    if isinstance(node, ast.Name):
        value, scope = _resolve(module, node.id)
        return None if value is None else _value(value, scope)
    return None  # such as `field(default_factory=dict)`


def arguments_section(docstring: str) -> dict[str, str]:
    """Entries of `Args:` by name, each on one line.

    >>> arguments_section("Sum.\\n\\nArgs:\\n    a: First\\n        number.\\n    b: Second.\\n\\nReturns:\\n    It.")
    {'a': 'First number.', 'b': 'Second.'}
    """
    section = docstring.partition("\nArgs:\n")[2]
    section = re.split(r"\n\n?(?=\w+:\n)", section)[0]
    parts = ENTRY.split(section)[1:]
    return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def split_default(entry: str) -> tuple[str, str]:
    """First sentence of an entry, and what it says of the default.

    >>> split_default("Wall-clock limit in seconds. It ends then. Default: no limit.")
    ('Wall-clock limit in seconds.', 'no limit')
    """
    text, _, default = entry.replace("``", "`").partition("Default: ")
    first = FIRST_SENTENCE.match(text)
    return first[0] if first else text.strip(), default.strip().rstrip(".")


def docstring_lines(function: Any) -> str:
    """Docstring of a command's own function, without its `Args:` section."""
    return re.split(r"\n+Args:\n", inspect.getdoc(function) or "")[0].strip()


def summary_of(place: str) -> str:
    """First line of a call's docstring, found without parsing the module."""
    module, name = find_call(place)
    path = module.removeprefix("critbatch").removeprefix(".").replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        try:
            text = (pkgutil.get_data("critbatch", file) or b"").decode()
        except OSError:
            continue
        if match := re.search(rf'^def {name}\(.*?^    """(.*?)(?:"""|\n)', text, re.MULTILINE | re.DOTALL):
            return match[1].strip()
    return read_call(place).summary
