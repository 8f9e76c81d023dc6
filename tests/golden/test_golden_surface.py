"""What users call: the public names with their signatures, and the help of each command.

A failing test shows the lines that differ. If the change is wanted, rewrite the snapshots:

    CRITBATCH_WRITE_GOLDEN=1 python -m pytest -q tests/golden
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import critbatch
from critbatch.cli.app import run
from critbatch.cli.options import COMMANDS
from golden_files import HERE, check_file

COLUMNS = "80"
NO_DEFAULT = inspect.Parameter.empty


def signature_of(call: Any) -> str:
    """A signature as text, the same in each version of Python."""
    signature = inspect.signature(call)
    parts, marked = [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            marked = True
        elif parameter.kind is parameter.KEYWORD_ONLY and not marked:
            parts.append("*")
            marked = True
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        text = f"{stars}{parameter.name}"
        text += f": {_annotation(parameter.annotation)}" if parameter.annotation is not NO_DEFAULT else ""
        parts.append(text + (f" = {_default(parameter.default)}" if parameter.default is not NO_DEFAULT else ""))
    returned = signature.return_annotation
    return f"({', '.join(parts)})" + (f" -> {_annotation(returned)}" if returned is not NO_DEFAULT else "")


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    """Functions and factories without their addresses."""
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def described(name: str, value: Any) -> Iterator[str]:
    """A line for a function, several for a class: its call and what it defines itself."""
    if isinstance(value, str):
        yield f"{name}: a text"
    elif inspect.ismodule(value):
        yield f"{name}: {', '.join(value.__all__)}"
    elif not inspect.isclass(value):
        yield f"{name}{signature_of(value)}"
    elif issubclass(value, enum.Enum):
        yield f"{name}: {', '.join(f'{member.name} = {member.value!r}' for member in value)}"
    elif issubclass(value, Exception):
        yield f"{name}: {', '.join(base.__name__ for base in value.__bases__)}"
    else:
        yield f"{name}{signature_of(value)}"
        own = {key: part for kind in reversed(value.__mro__) if _is_ours(kind) for key, part in vars(kind).items()}
        for key, part in sorted(own.items()):
            call = getattr(part, "__func__", part)
            if not key.startswith("_") and inspect.isfunction(call):
                yield f"    {key}{signature_of(call)}"
            elif not key.startswith("_") and isinstance(part, property):
                yield f"    {key}: property"


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "critbatch"


def test_the_public_names_and_their_signatures_are_the_same() -> None:
    lines = [line for name in sorted(critbatch.__all__) for line in described(name, getattr(critbatch, name))]
    check_file(HERE / "public_names.txt", "\n".join(lines) + "\n")


def test_the_help_of_each_command_is_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", COLUMNS)
    texts = []
    for words in ([], *([name] for name in COMMANDS)):
        assert run([*words, "--help"]) == 0
        texts.append(f"$ critbatch {' '.join([*words, '--help'])}\n{_plain(capsys.readouterr().out)}")
    check_file(HERE / "help.txt", "\n".join(texts))


def _plain(text: str) -> str:
    """Without colours, and without the spaces at the ends of lines that pad a terminal."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
