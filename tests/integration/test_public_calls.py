"""Every public call takes a task or its name and a path as text or as a Path, and has the defaults of its command."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from torch import nn

import critbatch
from critbatch.arguments import as_path, checked_call
from critbatch.cli import main
from critbatch.cli import options as o
from critbatch.cli.app import app
from critbatch.errors import UserError
from critbatch.recipes import RECIPES, plan_of
from critbatch.records.loss_surface import Mode
from critbatch.studies.watch import Watch
from critbatch.training.trainer import Training
from tiny import tiny_task

COMMANDS = {command.name or command.callback.__name__: command.callback for command in app.registered_commands}
CALLS = {
    name: getattr(critbatch, name) for name in critbatch.__all__ if inspect.isfunction(getattr(critbatch, name, None))
}
# Calls that are no command, and what a loss or a metric is given: tensors, which the task's own functions check.
WITHOUT_COMMAND = {"find_task", "flips_and_crops", "load_model"}
ON_TENSORS = {"accuracy", "cross_entropy"}
WITHOUT_CALL = {"tasks", "recipes", "watch"}

# What the command line calls otherwise, or a call needs that words cannot give, and so has no default to compare.
SPOKEN = {"language", "as_json", "threads", "settings"}  # of the command alone: how it speaks, words to options
UNSPOKEN = {"progress", "command", "title"}  # of the call alone
NAMES: dict[str, dict[str, str | None]] = {
    "advise": {"within": None, "devices": None, "price": None, "examples_limit": None, "tokens_limit": None}
    | {"margin": None, "decay": None, "warmup_epochs": None},  # parts of `objective` and of `options`
    "curvature": {"run": "model", "task": None},
    "critical_point": {"run": "model", "task": None},
    "landscape": {"runs": "models", "task": None},
    "sharpness": {"runs": "models", "task": None},
    "shift": {"runs": "models", "task": None},
    "report": {"study": "records", "out": "path"},
    "scale": {"device": None, "delay": "delay_seconds", "joining": "joining_seconds", "measured": "measurements"}
    | {"steps_law": "steps", "steps_from": "steps"},
    "sweep": {"to_the_end": None, "early_stopping": "stops_early", "vary": "varied"},
    "train": {"batch_size": "plan", "budget": None}  # of the command: seconds of wall clock, `pause_at`
    | dict.fromkeys(["learning_rate", "recipe", "epochs", "decay", "warmup_epochs", "weight_decay"])  # of the plan
    | dict.fromkeys(["zero_gamma", "ghost_batch", "sam_rho", "norm_statistics", "micro_batch_size"])
    | dict.fromkeys(["order", "drop_last", "steps", "to_the_end", "start_from"]),
}
# Records go to a folder of the command, where the call returns them.
RETURNS = {"speed", "noise", "scale", "curvature", "sharpness", "landscape", "shift", "critical_point", "escape"}
RETURNS |= {"fit", "train"}
READ: dict[str, Callable[[str], Any]] = {
    "batch_sizes": lambda text: o.whole_numbers(text, ""),
    "devices": lambda text: o.whole_numbers(text, ""),
    "seeds": lambda text: o.whole_numbers(text, ""),
    "epsilons": lambda text: o.numbers(text, ""),
    "networks": lambda text: text,
}
# Of equal meaning: the call says it in its own words.
EQUAL = [("objective", "soonest", None), ("target", None, "task"), ("measurements", None, ()), ("at", None, ())]
NO_DEFAULT = inspect.Parameter.empty


def parameters_of(name: str) -> dict[str, Any]:
    found = {key: value.default for key, value in inspect.signature(CALLS[name]).parameters.items()}
    if name == "train":
        found |= {key: value.default for key, value in inspect.signature(Training).parameters.items()}
    return found


def test_every_command_has_a_call_and_every_call_a_command_or_a_reason() -> None:
    assert main.app is app
    assert set(COMMANDS) - set(CALLS) == WITHOUT_CALL
    assert set(CALLS) - set(COMMANDS) == WITHOUT_COMMAND | ON_TENSORS


@pytest.mark.parametrize("name", sorted(set(COMMANDS) & set(CALLS)))
def test_a_call_has_the_defaults_of_its_command(name: str) -> None:
    call, names = parameters_of(name), NAMES.get(name, {})
    compared = 0
    for option, parameter in inspect.signature(COMMANDS[name]).parameters.items():
        own = names.get(option, option)
        if option in SPOKEN or own is None or (option == "out" and name in RETURNS):
            continue
        assert own in call, f"the command has {option}, and the call nothing like it"
        default, other = parameter.default, call[own]
        if isinstance(default, str) and option in READ:
            default = READ[option](default)
        if isinstance(other, (tuple, list)) and isinstance(default, (tuple, list)):
            default, other = tuple(default), tuple(other)
        if isinstance(other, str):
            other = str(other)
        compared += 1
        same = default is other or default == other
        assert same or (own, default, other) in EQUAL, f"{option}: {default!r} of the command, {other!r} of the call"
    assert compared


def test_the_folder_of_a_call_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"batch_sizes": [48], "learning_rates": [0.1], "seeds": [0], "epochs": 1, "compile": False}
    critbatch.sweep(tiny_task(name="my task"), **sizes)
    assert (tmp_path / "critbatch-out" / "my-task" / "store.sqlite").is_file()
    assert critbatch.report("critbatch-out/my-task") == Path("critbatch-out/my-task/report.html")
    assert critbatch.export("critbatch-out/my-task", out="table.csv") == Path("table.csv")
    with Watch(Path("critbatch-out/my-task")) as watch:
        assert watch.look().studies


WITH_TASK = sorted(name for name, call in CALLS.items() if "task" in inspect.signature(call).parameters)
PLACES = {"out", "path", "study", "points", "known", "records"}


def test_every_call_with_a_task_also_takes_its_name_and_every_place_is_text_or_a_path() -> None:
    assert len(WITH_TASK) == 14
    for name, call in CALLS.items():
        hints = get_type_hints(call)
        if name in ("landscape", "fit"):
            hints.pop("points" if name == "landscape" else "examples")
        if "task" in hints:
            assert hints["task"] == critbatch.Task | str, name
        if "device" in hints:
            assert hints["device"] == torch.device | str | None, name
        for parameter in PLACES & set(hints):
            assert _accepts(hints[parameter], str) and _accepts(hints[parameter], Path), (name, parameter)


def _accepts(hint: Any, kind: type) -> bool:
    return kind in getattr(hint, "__args__", (hint,))


class Strange:
    """Of no type that any call takes."""

    def __repr__(self) -> str:
        return "Strange\n()"


def arguments_of(name: str) -> dict[str, Any]:
    """What each call needs at the least, none of which is looked at before all types are right."""
    needed: dict[str, Any] = {"task": "digits-mlp", "model": nn.Linear(1, 1), "models": {"a": nn.Linear(1, 1)}}
    needed |= {
        "plan": plan_of("sgd", batch_size=8, learning_rate=0.1, epochs=1),
        "known": None,
        "records": "x",
        "path": "x",
    }
    needed |= {"name": "digits-mlp", "study": "x", "points": "x"}
    parameters = inspect.signature(CALLS[name]).parameters.values()
    return {one.name: needed[one.name] for one in parameters if one.default is NO_DEFAULT and one.name in needed}


EVERY_ARGUMENT = [
    (name, parameter.name)
    for name, call in CALLS.items()
    if name not in ON_TENSORS
    for parameter in inspect.signature(call).parameters.values()
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD
]


@pytest.mark.parametrize(("name", "parameter"), EVERY_ARGUMENT, ids=[".".join(pair) for pair in EVERY_ARGUMENT])
def test_an_argument_of_the_wrong_type_is_one_sentence_that_names_it(name: str, parameter: str) -> None:
    for value in (Strange(), b"bytes", {1: Strange()}, [Strange()], 1j):
        with pytest.raises(UserError, match=rf"^{CALLS[name].__name__}: {parameter} is .*: give .*\.$") as caught:
            CALLS[name](**{**arguments_of(name), parameter: value})
        assert "\n" not in str(caught.value)


NUMBERS = [
    (name, parameter)
    for name, parameter in EVERY_ARGUMENT
    if _accepts(get_type_hints(CALLS[name])[parameter], float) or _accepts(get_type_hints(CALLS[name])[parameter], int)
]


@pytest.mark.parametrize(("name", "parameter"), NUMBERS, ids=[".".join(pair) for pair in NUMBERS])
def test_no_number_may_be_nan_or_infinite(name: str, parameter: str) -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(UserError, match=rf"^{name}: {parameter}"):
            CALLS[name](**{**arguments_of(name), parameter: value})
    if _accepts(get_type_hints(CALLS[name])[parameter], float):
        with pytest.raises(UserError, match=rf"^{name}: {parameter}"):
            CALLS[name](**{**arguments_of(name), parameter: 10**400})


@pytest.mark.parametrize("settings", [{"seed": "x"}, {"device": 3}, {"checkpoint": 3}, {"workers": 1.5}])
def test_the_settings_of_a_run_are_looked_at_too(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"^train: {next(iter(settings))} is "):
        critbatch.train("digits-mlp", plan_of("sgd", batch_size=8, learning_rate=0.1, epochs=1), **settings)


CLASSES: list[tuple[type[Any], dict[str, Any]]] = [
    (critbatch.Budget, {}),
    (critbatch.Evaluation, {}),
    (critbatch.Objective, {}),
    (critbatch.Target, {"quantity": "validation_loss", "value": 1.0}),
]


@pytest.mark.parametrize(("kind", "needed"), CLASSES, ids=[kind.__name__ for kind, _ in CLASSES])
def test_a_field_of_the_wrong_type_is_one_sentence(kind: type[Any], needed: dict[str, Any]) -> None:
    for field in fields(kind):
        for value in (Strange(), b"bytes", math.nan, -math.inf, 10**400, 10**5000, "x", True, {1: 2}):
            with pytest.raises(UserError) as caught:
                kind(**{**needed, field.name: value})
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [10**400, 10**5000, -(10**30)], ids=["10^400", "10^5000", "-10^30"])
def test_a_whole_number_that_no_tensor_holds_is_one_sentence(value: int) -> None:
    for call in (
        lambda: critbatch.advise("digits-mlp", current_batch_size=value),
        lambda: critbatch.speed("digits-mlp", [value]),
        lambda: critbatch.sweep("digits-mlp", seeds=[value]),
        lambda: critbatch.noise("digits-mlp", seed=value),
    ):
        with pytest.raises(UserError, match=r"(is not possible: use|whole number below) ?.*\d") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, -1, 0, math.inf, "5", True])
@pytest.mark.parametrize("name", ["steps", "examples", "seconds"])
def test_a_budget_is_a_number_above_0(name: str, value: Any) -> None:
    with pytest.raises(UserError, match="udget"):
        critbatch.Budget(**{name: value})


def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path: Path) -> None:
    for call in (
        lambda name: critbatch.report(name),
        lambda name: critbatch.export(name),
        lambda name: critbatch.fit(name),
        lambda name: critbatch.load_model(name, "digits-mlp"),
        lambda name: critbatch.advise("digits-mlp", out=name),
        lambda name: critbatch.sweep("digits-mlp", out=name),
        lambda name: critbatch.check_claims("digits-mlp", out=name),
        lambda name: critbatch.scale("digits-mlp", name),
        lambda name: critbatch.find_task(f"{name}:task"),
    ):
        for name in ("a\0b", "a\ud800b", "n" * 300, str(tmp_path / "n" / ("m" * 5000))):
            with pytest.raises(UserError) as caught:
                call(name)
            assert "\n" not in str(caught.value)


def test_a_path_is_taken_as_text_as_a_path_and_as_what_else_names_one(tmp_path: Path) -> None:
    class Place(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(tmp_path)

    assert as_path(str(tmp_path)) == as_path(tmp_path) == as_path(Place()) == tmp_path


def test_a_run_takes_names_for_task_and_device_and_text_for_its_checkpoint(tmp_path: Path) -> None:
    plan = plan_of("sgd", batch_size=1437, learning_rate=0.1, epochs=1)
    run = critbatch.train("digits-mlp", plan, device="cpu", checkpoint=str(tmp_path / "run.pt"), compile=False)
    assert run.steps == 1 and set(RECIPES) >= {run.recipe}


def test_the_text_of_an_enumeration_is_one_of_its_members() -> None:
    @checked_call
    def call(mode: Mode = Mode.EVAL) -> Mode:
        return mode

    assert call("batch") is Mode.BATCH  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^call: mode='x' is not known: use 'eval' or 'batch'\.$"):
        call("x")  # type: ignore[arg-type]
