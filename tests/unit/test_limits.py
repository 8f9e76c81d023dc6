"""Counts beyond what a machine can hold are refused in a sentence, before anything starts."""

from __future__ import annotations

import collections.abc
import inspect
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch

import critbatch
from critbatch import arguments as limits
from critbatch.arguments import LIMITS, LISTS, MOST_VALUES, check_counts, process_limit, thread_limit
from critbatch.claims.pool import Pool
from critbatch.cli.main import main
from critbatch.cli.options import COMMANDS
from critbatch.errors import UserError
from critbatch.measure.escape import ModelEnsemble
from critbatch.measure.sharpness import Box, sharpness_in
from critbatch.recipes import plan_of
from critbatch.recipes.plan import Phase
from critbatch.runtime import device
from critbatch.runtime.progress import Display
from critbatch.studies.supervisor import WorkerSupervisor
from critbatch.tasks.sampler import BatchGatherer
from tiny import tiny_task

HUGE = 10**20 - 1
OF_THE_MACHINE = {"workers", "threads"}


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess.Popen, "__init__", started)
    monkeypatch.setattr(os, "fork", started)


def refused(given: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        check_counts(given, lambda name, value: f"{name}={value}")
    return str(caught.value)


@pytest.mark.parametrize(
    ("cores", "gibibytes", "most"),
    [(2, 25.0, 16), (1, 25.0, 8), (64, 512.0, 512), (64, 2.0, 8), (2, 0.1, 1)],
)
def test_processes_are_bound_by_cores_and_by_memory(
    cores: int, gibibytes: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(limits, "host_memory_bytes", lambda: int(gibibytes * 2**30))
    assert process_limit().most == most
    check_counts({"workers": most}, lambda name, _: name)
    sentence = refused({"workers": most + 1})
    assert sentence.startswith(f"workers={most + 1} is not possible: use {most} at most: this machine has {cores} core")
    assert thread_limit().most == max(8, 8 * cores)


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "digits-mlp", "--workers", "99999999999999999999"],
        ["lecture", "digits-mlp", "--workers", "99999999999999999999"],
        ["train", "digits-mlp", "--batch-size", "64", "--workers", "99999999999999999999"],
        ["speed", "digits-mlp", "--threads", "99999999999999999999"],
        ["sweep", "digits-mlp", "--batch-sizes", "16,99999999999999999999"],
        ["sweep", "digits-mlp", "--workers", str(10**4000)],
    ],
    ids=lambda words: " ".join(words)[:60],
)
@pytest.mark.usefixtures("no_processes")
def test_a_command_refuses_too_many_before_it_starts_anything(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["critbatch", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is not possible: use " in last and len(last) < 200
    assert not list(tmp_path.rglob("*.json"))


def counts_of_commands() -> list[tuple[str, str]]:
    return [
        (command, name)
        for command, spec in COMMANDS.items()
        for name, argument in spec.arguments().items()
        if argument.kind is int and not argument.several
    ]


@pytest.mark.parametrize(("command", "name"), counts_of_commands(), ids=str)
def test_every_count_of_every_command_has_a_limit(command: str, name: str) -> None:
    assert name in {*LIMITS, *OF_THE_MACHINE}, f"give {name} of {command} a limit"
    assert " is not possible: use " in refused({name: HUGE})


def counts_of_calls() -> list[tuple[str, str, bool]]:
    """Arguments of checked calls that take a whole number, or a list of them."""
    found = []
    for call in critbatch.__all__:
        function = getattr(critbatch, call)
        if not inspect.isfunction(function) or not hasattr(function, "__wrapped__"):
            continue
        for name, hint in get_type_hints(function.__wrapped__).items():
            options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
            if int in options:
                found.append((call, name, False))
            if any(get_origin(one) is collections.abc.Sequence and get_args(one) == (int,) for one in options):
                found.append((call, name, True))
    return found


@pytest.mark.parametrize(("call", "name", "in_list"), counts_of_calls(), ids=str)
def test_every_count_of_every_public_call_has_a_limit(call: str, name: str, in_list: bool) -> None:
    assert name in (LISTS if in_list else {*LIMITS, *OF_THE_MACHINE}), f"give {name} of {call} a limit"
    assert " is not possible: use " in refused({name: [HUGE] if in_list else HUGE})


def test_public_calls_refuse_counts_in_one_sentence() -> None:
    task = tiny_task()
    with pytest.raises(UserError, match=rf"^sweep: workers={HUGE} is not possible: use \d+ at most: this machine has"):
        critbatch.sweep(task, workers=HUGE)
    with pytest.raises(UserError, match=r"^speed: seed=-1 is not possible: use 0 to 4294967295"):
        critbatch.speed(task, [4], seed=-1)
    with pytest.raises(UserError, match=r"^sweep: seed=4294967296 is not possible: use 4294967295 at most\.$"):
        critbatch.sweep(task, seeds=[0, 2**32])
    with pytest.raises(UserError, match="seed=1e30 is not possible"):
        task.new_model(10**30)


@pytest.mark.usefixtures("no_processes")
def test_what_starts_processes_or_threads_asks_where_it_starts_them() -> None:
    most = process_limit().most
    with pytest.raises(UserError, match=f"workers={most + 1} is not possible: use {most} at most"):
        Pool(most + 1, threads=1, show=Display())
    with pytest.raises(UserError, match="is not possible"):
        WorkerSupervisor(None, most + 1, None, pause_at=None, report_progress=lambda: 0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is not possible"):
        BatchGatherer(tiny_task().train, torch.device("cpu"), workers=most + 1)
    threads = torch.get_num_threads()
    with pytest.raises(UserError, match="threads=100000 is not possible"):
        device.use_threads(100_000)
    assert torch.get_num_threads() == threads


def test_the_nodes_of_a_cluster_have_cores_of_their_own() -> None:
    check_counts({"workers": 4096, "threads": 128, "ray": "auto"}, lambda name, _: name)
    assert "use 4096 at most" in refused({"workers": 4097, "ray": "auto"})


def test_numbers_of_any_kind_and_length_are_compared_and_all_else_is_left_alone() -> None:
    assert "seed=-3 " in refused({"seed": np.int64(-3)})
    assert "seed=4294967296 " in refused({"seed": torch.tensor(2**32)})
    assert "steps=1e5000 " in refused({"steps": 10**5000})
    assert f"seeds=of {MOST_VALUES + 1} values is too long" in refused({"seeds": range(MOST_VALUES + 1)})
    others = {"steps": (220.0, 130.0), "batch_size": None, "seeds": "12", "unknown": HUGE, "seed": True}
    check_counts(others, lambda name, _: name)


def test_options_of_recipes_have_limits_too() -> None:
    with pytest.raises(UserError, match=f"copies={HUGE} is not possible: use 1024 at most"):
        plan_of("swap2020", batch_size=8, learning_rate=0.1, epochs=1, copies=HUGE)
    with pytest.raises(UserError, match="copies=1025 is not possible"):
        Phase(epochs=1, batch_size=8, copies=1025, optimizer=torch.optim.SGD, learning_rate=None)  # type: ignore[arg-type]


def test_copies_of_the_weights_that_no_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, task = torch.device("cpu"), tiny_task()
    monkeypatch.setattr(device, "host_memory_bytes", lambda: 5000)
    weights = 4 * (4 * 8 + 8 + 8 * 3 + 3)
    with pytest.raises(UserError, match=f"starts=10 is not possible: each takes {2 * weights} bytes .* use 9 at most"):
        ModelEnsemble(task, starts=10, seed=0, device=cpu)
    surface = types.SimpleNamespace(weights=torch.zeros(100))
    with pytest.raises(UserError, match="subspace=10 is not possible: each takes 800 bytes"):
        sharpness_in(surface, Box.RANDOM, 1e-3, subspace=10)  # type: ignore[arg-type]


def test_limits_leave_room_for_what_people_do() -> None:
    usual = {"batch_size": 65_536, "steps": 1_000_000, "seeds": 100, "trials": 1000, "subspace": 1000, "starts": 1000}
    check_counts({**usual, "workers": os.cpu_count(), "threads": os.cpu_count()}, lambda name, _: name)
    assert limits.MOST_SEED == 2**32 - 1
