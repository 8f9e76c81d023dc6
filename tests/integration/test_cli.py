"""The command line as a person meets it: what it prints, what it leaves, and how it answers wrong input."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from critbatch.cli.main import app, main
from critbatch.cli.options import whole_numbers
from critbatch.errors import UserError
from critbatch.records.core import Noise, Outcome, Run, Speed
from critbatch.records.study import Study

TASK_FILE = """
import torch
from torch import nn
import critbatch

generator = torch.Generator().manual_seed(0)
inputs = torch.randn(240, 6, generator=generator)
labels = (inputs[:, 0] > 0).long()
task = critbatch.Task(
    "<b>mine</b>",
    model=lambda: nn.Linear(6, 2),
    train=(inputs[:200], labels[:200]),
    validation=(inputs[200:], labels[200:]),
    target=critbatch.Target(quantity="validation_metric", value=0.9),
)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TASK_FILE)
    return tmp_path


def critbatch(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["critbatch", *words])
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


@pytest.mark.parametrize(
    "command", [command.callback.__name__.replace("_", "-") for command in app.registered_commands if command.callback]
)
def test_help_begins_with_what_the_command_is_for_and_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch(command, "--help", monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    assert f"        critbatch {command}" in text.split("Options:")[0].replace("      critbatch", "        critbatch")


def test_speed_leaves_a_record_and_a_report(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["speed", "mine.py:task", "--batch-sizes", "1,8,200", "--out", "out"]
    assert critbatch(*words, monkeypatch=monkeypatch) == 0
    record = Speed.from_json((here / "out" / "speed.json").read_bytes())
    assert [point.batch_size for point in record.points] == [1, 8, 200]
    assert record.provenance.command == f"critbatch {' '.join(words)}"
    page = (here / "out" / "report.html").read_text()
    assert "<b>mine</b>" not in page
    assert "out/report.html" in capsys.readouterr().out


def test_json_is_the_record_and_nothing_else(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["noise", "mine.py:task", "--batch-size", "20", "--epochs", "2", "--json", "--out", "out"]
    assert critbatch(*words, monkeypatch=monkeypatch) == 0
    printed = capsys.readouterr()
    assert Noise.from_json(printed.out) == Noise.from_json((here / "out" / "noise.json").read_bytes())
    assert printed.err == ""


def test_train_stops_at_its_budget_and_goes_on_with_the_same_command(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        "mine.py:task",
        "--batch-size",
        "8",
        "--learning-rate",
        "0.01",
        "--to-the-end",
        "--json",
        "--out",
        "out",
    ]
    assert critbatch(*words, "--budget", "0.0001", monkeypatch=monkeypatch) == 0
    assert Run.from_json(capsys.readouterr().out).outcome is Outcome.INTERRUPTED
    assert critbatch(*words, monkeypatch=monkeypatch) == 0
    run = Run.from_json(capsys.readouterr().out)
    assert (run.outcome, run.epochs) == (Outcome.FINISHED, 10)


def test_recipes_are_listed_with_their_papers_and_a_run_by_one_starts_from_another(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch("recipes", "--json", monkeypatch=monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lars2017"]["paper"] == "You et al. 2017, arXiv:1708.03888"
    assert told["swap2020"]["options"]["copies"] == "8"
    assert critbatch("recipes", "swap2020", monkeypatch=monkeypatch) == 0
    assert "Each copy sees all the data in an order of its own" in capsys.readouterr().out
    words = ["train", "mine.py:task", "--batch-size", "20", "--to-the-end", "--out", "out", "--json"]
    first = [*words, "--recipe", "swap2020", "--set", "copies=2", "--epochs", "3", "--learning-rate", "0.1"]
    assert critbatch(*first, monkeypatch=monkeypatch) == 0
    run = Run.from_json(capsys.readouterr().out)
    assert len(run.members) == 2
    (kept,) = (here / "out").glob("*.weights.pt")
    assert critbatch(*words, "--epochs", "0.1", "--start-from", str(kept), monkeypatch=monkeypatch) == 0
    later = Run.from_json(capsys.readouterr().out)
    assert later.curve[0].validation_loss == pytest.approx(run.curve[-1].validation_loss)


def test_a_sweep_and_its_report(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--batch-sizes", "8,64", "--learning-rates", "0.03,0.3", "--seeds", "0", "--epochs", "5", "--out", "out"]
    assert critbatch("sweep", "mine.py:task", *words, "--json", monkeypatch=monkeypatch) == 0
    study = Study.from_json(capsys.readouterr().out)
    assert (len(study.runs), study.left) == (4, 0)
    assert critbatch("report", "out", "--language", "zh", "--out", "here.html", monkeypatch=monkeypatch) == 0
    assert 'lang="zh' in (here / "here.html").read_text()


def test_advise_answers_and_says_where_the_report_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["advise", "mine.py:task", "--current", "4", "--budget", "60", "--out", "out"]
    assert critbatch(*words, monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    advice = json.loads((here / "out" / "advice.json").read_text())
    assert advice["answered"] is True
    assert str(advice["best"]["batch_size"]) in text.splitlines()[0]
    assert advice["current"]["batch_size"] == 4
    assert (here / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["speed", "nothing"], "nothing"),
        (["speed", "missing.py:task"], "missing.py"),
        (["speed", "mine.py:other"], "other"),
        (["speed", "mine.py:task", "--batch-sizes", "0"], "batch_size=0"),
        (["speed", "mine.py:task", "--batch-sizes", "201"], "above the 200"),
        (["speed", "mine.py:task", "--batch-sizes", "many"], "--batch-sizes 'many' is not understood"),
        (["speed", "mine.py:task", "--device", "tpu9"], "Device 'tpu9' is not on this machine: use cpu"),
        (["train", "mine.py:task", "--batch-size", "201"], "batch_size=201 is above the 200 training examples"),
        (["train", "mine.py:task", "--batch-size", "8", "--learning-rate", "-1"], "learning_rate=-1.0 is not possible"),
        (["train", "mine.py:task", "--batch-size", "8", "--recipe", "adamax"], "Recipe 'adamax' is not known"),
        (["train", "mine.py:task", "--batch-size", "8", "--order", "odd"], "--order 'odd' is not known"),
        (["train", "mine.py:task", "--batch-size", "8", "--decay", "odd"], "lr_decay='odd' is not known"),
        (["train", "mine.py:task", "--batch-size", "8", "--set", "momentum=x"], "momentum='x' is not possible"),
        (["train", "mine.py:task", "--batch-size", "8", "--set", "batch_size=3"], "use --batch-size"),
        (["train", "mine.py:task", "--batch-size", "8", "--start-from", "gone.json"], "There is no gone.weights.pt"),
        (["train", "mine.py:task", "--batch-size", "8", "--shard-weights"], "start them with torchrun"),
        (["recipes", "magic"], "Recipe 'magic' is not known"),
        (["noise", "mine.py:task", "--batch-size", "500"], "batch_size=500 is above"),
        (["advise", "mine.py:task", "--current", "0"], "current_batch_size=0 is not possible"),
        (["advise", "mine.py:task", "--budget", "-5"], "budget=-5.0 allows nothing"),
        (["advise", "mine.py:task", "--language", "fr"], "fr"),
        (["advise", "mine.py:task", "--objective", "fastest"], "The objective 'fastest' is not known: use time"),
        (["advise", "mine.py:task", "--objective", "examples"], "needs a limit"),
        (["advise", "mine.py:task", "--within", "3"], "belongs to the objective cost"),
        (["advise", "mine.py:task", "--devices", "0,1"], "Numbers of devices and a price belong"),
        (["advise", "mine.py:task", "--tokens-limit", "9", "--examples-limit", "9"], "say the same twice"),
        (["advise", "mine.py:task", "--recipe", "swap2020"], "trains copies"),
        (["advise", "mine.py:task", "--recipe", "adaptive"], "changes its batch size"),
        (["advise", "mine.py:task", "--decay", "odd"], "lr_decay='odd' is not known"),
        (["advise", "mine.py:task", "--set", "epochs=3"], "epochs follows here"),
        (["advise", "mine.py:task", "--set", "momentum"], "--set 'momentum' is not understood"),
        (["sweep", "mine.py:task", "--learning-rates", "0"], "learning_rate=0"),
        (["sweep", "mine.py:task", "--seeds", "1,1"], "more than once"),
        (["report", "nowhere"], "There is no nowhere"),
        (["report", "."], "holds no record"),
    ],
)
def test_wrong_input_is_answered_in_one_sentence(
    words: list[str], sentence: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch(*words, monkeypatch=monkeypatch) == 2
    *progress, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith("critbatch: ") and sentence in last
    assert not [line for line in progress if "Traceback" in line or "Error" in line]


NUMBERS = [
    (command.name or command.callback.__name__.replace("_", "-"), name)
    for command in app.registered_commands
    for name, hint in get_type_hints(command.callback).items()
    if hint in (float, float | None)
]


@pytest.mark.parametrize(("command", "name"), NUMBERS, ids=[".".join(pair) for pair in NUMBERS])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_no_option_takes_a_number_that_is_not_finite(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_size = ["--batch-size", "8"] if command == "train" else []
    options = {"delay": "--delay", "joining": "--joining"}
    words = [command, "digits-mlp", *batch_size, f"{options.get(name, '--' + name.replace('_', '-'))}={value}"]
    assert critbatch(*words, monkeypatch=monkeypatch) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    shown = value.replace("1e400", "inf")
    assert re.match(rf"critbatch: --\S+ {shown} is not possible: use a finite number\.|Error: Invalid value", last)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.EMFILE, os.strerror(errno.EMFILE), "x.py"),
            r"may open no more than \d+ files: raise that limit",
        ),
        (ImportError("libtorch.so: cannot open shared object file: Too many open files"), r"may open no more than"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), r"The disk is full \(.*'x'\): make room there"),
    ],
    ids=["handles", "handles of an import", "disk"],
)
def test_a_shortage_anywhere_is_one_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(as_json: bool) -> None:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("of a library") from cause

    monkeypatch.setattr("critbatch.cli.doing.list_tasks", fail)
    assert critbatch("tasks", monkeypatch=monkeypatch) == 2
    assert re.search(rf"^critbatch: .*{sentence}", capsys.readouterr().err)


def test_another_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critbatch.cli.doing.list_tasks", lambda as_json: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        critbatch("tasks", monkeypatch=monkeypatch)


def test_ctrl_c_is_one_sentence_and_exit_code_130(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("critbatch.cli.doing.find_task", interrupted)
    assert critbatch("speed", "mine.py:task", monkeypatch=monkeypatch) == 130
    assert capsys.readouterr().err.startswith("critbatch: stopped.")


def test_a_task_file_that_raises_is_answered_with_its_line(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken.py").write_text("x = 1\ny = x / 0\n")
    assert critbatch("speed", "broken.py:task", monkeypatch=monkeypatch) == 2
    sentence = capsys.readouterr().err
    assert "ZeroDivisionError" in sentence and "line 2" in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "locked").mkdir(mode=0o500)
    assert critbatch("speed", "mine.py:task", "--out", "locked/out", monkeypatch=monkeypatch) == 2
    assert "cannot be" in capsys.readouterr().err


def test_a_folder_that_is_a_file_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    assert critbatch("speed", "mine.py:task", "--out", "file", monkeypatch=monkeypatch) == 2
    assert "file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "numbers"), [("1,10,100", [1, 10, 100]), ("16..128", [16, 32, 64, 128]), ("5..5", [5])]
)
def test_batch_sizes_are_lists_or_doublings(text: str, numbers: list[int]) -> None:
    assert whole_numbers(text, "--batch-sizes") == numbers


@pytest.mark.parametrize("text", ["", "8..4", "0..4", "a..b", "1,,2", "1.5"])
def test_anything_else_is_no_batch_sizes(text: str) -> None:
    with pytest.raises(UserError, match="use a list, 1,10,100, or doublings"):
        whole_numbers(text, "--batch-sizes")


def test_a_sweep_of_several_recipes_is_one_folder_with_a_study_of_each(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--batch-sizes",
        "16,96",
        "--learning-rates",
        "0.03",
        "--seeds",
        "0",
        "--epochs",
        "3",
        "--recipe",
        "sgd,adam",
    ]
    assert critbatch("sweep", "mine.py:task", *words, "--out", "both", monkeypatch=monkeypatch) == 0
    assert {path.name for path in (here / "both").glob("study-*.json")} == {"study-adam.json", "study-sgd.json"}
    page = (here / "both" / "report.html").read_text()
    assert "adam" in page and "sgd" in page
