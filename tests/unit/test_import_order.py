"""Packages import only from those below them, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "critbatch"

# From the bottom up. A module may import from its own package and from those on the lines above.
PACKAGES = [
    ["version", "errors", "arguments"],
    ["records"],
    ["runtime", "law"],
    ["tasks"],
    ["optim"],
    ["recipes"],
    ["gradient_noise"],
    ["training"],
    ["measure"],
    ["studies"],
    ["advisor"],
    ["claims"],
    ["reports"],
    ["integrations", "cli", "__init__", "__main__"],
]
LEVEL_OF = {name: level for level, names in enumerate(PACKAGES) for name in names}


def imports_of(path: Path) -> set[str]:
    names_imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "critbatch" else [f"critbatch.{alias.name}" for alias in node.names]
            names_imported.update(names)
        elif isinstance(node, ast.Import):
            names_imported.update(alias.name for alias in node.names)
    return names_imported


def package_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_each_import_leads_to_a_lower_package(path: Path) -> None:
    own = package_of(path)
    assert own in LEVEL_OF, f"{own} has no level: give it one in PACKAGES"
    for name in imports_of(path):
        if name.startswith("critbatch."):
            other = name.split(".")[1]
            assert LEVEL_OF[other] <= LEVEL_OF[own], f"{own} imports {name}, which lies above it"


def test_no_two_modules_import_each_other() -> None:
    names = {path: "critbatch." + ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in MODULES}
    names = {path: name.removesuffix(".__init__") for path, name in names.items()}
    graph = {name: {other for other in imports_of(path) if other in names.values()} for path, name in names.items()}
    graph.pop("critbatch")
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circular: {' -> '.join([*trail, name])}"
        if name not in done:
            for other in graph.get(name, set()):
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("package", ["records", "law", "reports", "reporting"])
def test_these_packages_need_no_torch(package: str) -> None:
    for path in (SOURCE / package).rglob("*.py"):
        assert not [name for name in imports_of(path) if name.split(".")[0] == "torch"], path


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("critbatch.cli.main", ["torch", "optuna", "plotly", "scipy", "sklearn", "pydantic", "numpy"]),
        ("critbatch", ["torch", "numpy"]),
        ("critbatch.reports.write", ["torch"]),
    ],
)
def test_nothing_heavy_is_imported_early(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["critbatch", "critbatch.records"])
def test_each_public_name_is_loaded_and_typed_by_the_same_list(package: str) -> None:
    module = importlib.import_module(package)
    stub = Path(str(module.__file__)).with_suffix(".pyi").read_text(encoding="utf-8")
    listed = next(node for node in ast.parse(stub).body if isinstance(node, ast.Assign))
    assert sorted(ast.literal_eval(listed.value)) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_page_on_the_architecture_names_what_is_there() -> None:
    docs = SOURCE.parents[1] / "docs"
    page, picture = (
        (docs / name).read_text(encoding="utf-8") for name in ("architecture.md", "pictures/architecture.svg")
    )
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")} - {"reporting"}
    assert not [name for name in packages if f"`{name}`" not in page or f">{name}<" not in picture]
    files = re.findall(r"`((?:\w+/)+\w+\.\w+)`", page + (docs / "contributing.md").read_text(encoding="utf-8"))
    assert not [
        file for file in files if not any((root / file).exists() for root in (SOURCE, SOURCE.parent, SOURCE.parents[1]))
    ]
