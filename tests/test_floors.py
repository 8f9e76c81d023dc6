"""Imports lead down, and nothing heavy is loaded before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "critbatch"

# From the ground up. A module may import from its own floor and from those below.
FLOORS = [
    [
        "version",
        "errors",
        "limits",
        "arguments",
        "atomic_files",
        "records",
        "loss_records",
        "study_records",
        "scale_records",
        "lecture_records",
        "monitor_records",
    ],
    ["record_files", "predict"],
    [
        "machine",
        "device",
        "distributed",
        "examples",
        "dataset_batches",
        "augmentation",
        "task_checks",
        "fingerprints",
        "task",
        "random_state",
        "interruption",
        "provenance",
    ],
    [
        "run_clock",
        "loss_watch",
        "norm_statistics",
        "learning_rate",
        "scaling",
        "schedulers",
        "adascale",
        "optimizers",
        "batches",
        "growth",
        "plan",
        "budget",
        "progress",
        "checkpoint",
        "ledger",
        "phases",
        "replica",
        "sharded",
        "ghost_batch_norm",
        "sharpness_aware",
        "gradient_noise",
        "squared_norms",
        "noise_meter",
        "monitor_sizes",
        "monitor_step",
        "monitor_hooks",
        "monitor_window",
        "monitor",
        "per_example",
    ],
    [
        "step",
        "team",
        "functional_updates",
        "step_graph",
        "rehearsal",
        "compiled",
        "evaluation",
        "target_checks",
        "inspection",
        "solutions",
        "zoo",
    ],
    ["fast_path", "resuming", "recipes", "fresh_model", "plan_checks", "run_record"],
    ["training"],
    ["measure", "elsewhere"],
    ["campaigns"],
    ["reporting"],
    ["cli", "integrations", "__init__", "__main__"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "critbatch" else [f"critbatch.{alias.name}" for alias in node.names]
            found.update(names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(SOURCE)) for path in MODULES])
def test_each_import_leads_down(path: Path) -> None:
    own = room_of(path)
    assert own in FLOOR_OF, f"{own} has no floor: give it one in FLOORS"
    for name in imports_of(path):
        if name.startswith("critbatch."):
            other = name.split(".")[1]
            assert FLOOR_OF[other] <= FLOOR_OF[own], f"{own} imports {name}, which lies above it"


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


@pytest.mark.parametrize("room", ["predict", "reporting"])
def test_thinking_and_telling_need_no_torch(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        assert not [name for name in imports_of(path) if name.split(".")[0] == "torch"], path


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("critbatch.cli.main", ["torch", "optuna", "plotly", "scipy", "sklearn", "pydantic", "numpy"]),
        ("critbatch", ["torch", "numpy"]),
        ("critbatch.reporting", ["torch"]),
    ],
)
def test_nothing_heavy_is_imported_early(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
