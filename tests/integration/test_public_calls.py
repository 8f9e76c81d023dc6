"""Every public call takes a task or its name and a path as text or as a Path, and has the defaults of its command."""

from __future__ import annotations

import inspect
import math
import os
import re
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
import torch
from torch import nn

import critbatch
from critbatch.arguments import as_path, checked_call
from critbatch.cli.app import app  # noqa: F401 - it registers the commands
from critbatch.cli.options import COMMANDS, Command
from critbatch.cli.signatures import EMPTY, find_call
from critbatch.errors import UserError
from critbatch.recipes import RECIPES, plan_of
from critbatch.records.loss_surface import Mode
from critbatch.studies.watch import StudyWatcher
from tiny import tiny_task

CALLS = {
    name: getattr(critbatch, name) for name in critbatch.__all__ if inspect.isfunction(getattr(critbatch, name, None))
}
SPECS = {name: spec for name, spec in COMMANDS.items() if not spec.hidden}
# Calls that are no command, and what a loss or a metric is given: tensors, which the task's own functions check.
WITHOUT_COMMAND = {"find_task", "flips_and_crops", "load_model"}
ON_TENSORS = {"accuracy", "cross_entropy"}
WITHOUT_CALL = {"tasks", "recipes", "watch"}

# Arguments that words cannot give.
IN_PYTHON_ONLY = {"progress", "command", "evaluation", "callbacks"}
HIDDEN: dict[str, set[str]] = {
    "advise": {"objective"},  # its fields are options
    "curvature": {"model", "solution"},
    "critical-point": {"model", "solution"},
    "landscape": {"models", "solutions"},
    "sharpness": {"models", "solutions", "boxes"},
    "shift": {"models", "solutions", "boxes", "shifts"},
    "scale": {"known", "steps", "measurements", "communication"},
    "fit": {"seed"},
    "speed": {"plan_of"},
    "train": {"plan", "budget", "pause_at", "settings", "phases", "peak", "recipe", "target", "start"}
    | {"noise_every", "noise_by", "checkpoint", "keeps_checkpoint", "zero_gamma", "max_seconds"},
}
# Options that the command describes itself, since words say it in another way.
OWN: dict[str, set[str]] = {
    "advise": {"target", "options"},
    "claims": {"networks", "task", "out"},
    "fit": {"points"},
    "sweep": {"target", "recipe"},
}
OF_RUNS = {"curvature", "critical-point", "landscape", "sharpness", "shift"}
NO_DEFAULT = inspect.Parameter.empty


def entries_of(call: Any) -> dict[str, str]:
    """What a docstring says of each argument, read line by line."""
    entries: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(call) or "").partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if found := re.match(r"    (\w+): (.*)", line):
            name, entries[found[1]] = found[1], found[2]
        else:
            entries[name] += f" {line.strip()}"
    return entries


def test_every_command_has_a_call_and_every_call_a_command_or_a_reason() -> None:
    commands = {spec.call or name for name, spec in SPECS.items()}
    assert commands - set(CALLS) == WITHOUT_CALL
    assert set(CALLS) - commands == WITHOUT_COMMAND | ON_TENSORS


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.call])
def test_each_argument_of_a_call_is_an_option_with_its_default_and_its_first_sentence(name: str) -> None:
    spec, call = SPECS[name], CALLS[SPECS[name].call]
    assert spec.summary == (inspect.getdoc(call) or "").splitlines()[0]
    options, compared = {param.name: param for param in Command(spec).params}, 0
    calls = [call, *(getattr(import_module(find_call(place)[0]), find_call(place)[1]) for place in spec.also)]
    parameters = [
        (parameter, entries_of(one)) for one in calls for parameter in inspect.signature(one).parameters.values()
    ]
    for parameter, entries in parameters:
        if parameter.name in IN_PYTHON_ONLY | HIDDEN.get(name, set()) or (name in OF_RUNS and parameter.name == "task"):
            continue
        argument, default = spec.arguments()[parameter.name], parameter.default
        assert parameter.name in options, f"critbatch {name} has no option for {parameter.name}"
        assert entries[parameter.name], f"the docstring says nothing of {parameter.name}"
        if parameter.name not in OWN.get(name, set()):
            given = argument.default if argument.default != () else None
            assert (NO_DEFAULT if given is EMPTY else given) == (default if default != () else None), parameter.name
        if parameter.name in spec.words or parameter.name in OWN.get(name, set()):
            continue
        option = options[parameter.name]
        assert isinstance(option, click.Option) and option.help is not None
        assert argument.help and entries[parameter.name].replace("``", "`").startswith(argument.help), parameter.name
        assert option.help.startswith(argument.help)
        if default not in (False, ()):
            text = f"{default:g}" if isinstance(default, float) else str(default).strip("(),").replace(", ", ",")
            text = f"--{'' if default else 'no-'}{parameter.name.replace('_', '-')}" if default is True else text
            said = entries[parameter.name].partition("Default: ")[2].rstrip(".").replace("``", "`")
            assert f"[default: {said if default is None else text}]" in option.help, parameter.name
            assert default is not None or said, f"the docstring does not say what None is for {parameter.name}"
        compared += 1
    assert compared


@pytest.mark.parametrize("name", SPECS)
def test_each_option_of_a_command_says_what_it_is(name: str) -> None:
    for param in Command(SPECS[name]).params:
        if isinstance(param, click.Option):
            assert re.match(r"[A-Z].{5,}[.] ?", param.help or ""), param.name
            assert param.is_flag or param.multiple or "[default: " in (param.help or "") or param.required, param.name


def test_the_folder_of_a_call_is_that_of_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"batch_sizes": [48], "learning_rates": [0.1], "seeds": [0], "epochs": 1, "compile": False}
    critbatch.sweep(tiny_task(name="my task"), **sizes)
    assert (tmp_path / "critbatch-out" / "my-task" / "runs.sqlite").is_file()
    assert critbatch.report("critbatch-out/my-task") == Path("critbatch-out/my-task/report.html")
    assert critbatch.export("critbatch-out/my-task", out="table.csv") == Path("table.csv")
    with StudyWatcher(Path("critbatch-out/my-task")) as watch:
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
