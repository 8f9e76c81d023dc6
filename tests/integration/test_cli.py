"""The command line as a person meets it: what it prints, what it leaves, and how it answers wrong input."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import critbatch as critbatch_package
from critbatch.cli.main import main
from critbatch.cli.options import COMMANDS, add_old_name
from critbatch.cli.values import parse_ints
from critbatch.errors import UserError
from critbatch.records.core import Noise, Outcome, Run, Speed
from critbatch.records.study import Study
from tiny import tiny_task

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


@pytest.mark.parametrize("command", [name for name, spec in COMMANDS.items() if not spec.hidden])
def test_help_begins_with_what_the_command_is_for_and_an_example(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch(command, "--help", monkeypatch=monkeypatch) == 0
    before = capsys.readouterr().out.partition("General options:")[0].partition("\nOptions:")[0]
    assert f"  {COMMANDS[command].summary}\n" in before and f"    critbatch {command}" in before


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
        "--no-stop-at-target",
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
    assert "Each copy sees all the data in its own order" in capsys.readouterr().out
    words = ["train", "mine.py:task", "--batch-size", "20", "--no-stop-at-target", "--out", "out", "--json"]
    first = [*words, "--recipe", "swap2020", "--set", "copies=2", "--epochs", "3", "--learning-rate", "0.1"]
    assert critbatch(*first, monkeypatch=monkeypatch) == 0
    run = Run.from_json(capsys.readouterr().out)
    assert len(run.replicas) == 2
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
    assert (len(study.runs), study.runs_left) == (4, 0)
    assert critbatch("report", "out", "--language", "zh", "--out", "here.html", monkeypatch=monkeypatch) == 0
    assert 'lang="zh' in (here / "here.html").read_text()


def test_advise_answers_and_says_where_the_report_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["advise", "mine.py:task", "--current-batch-size", "4", "--budget", "60", "--out", "out"]
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
        (["train", "mine.py:task", "--batch-size", "8", "--lr-decay", "odd"], "--lr-decay 'odd' is not known"),
        (["train", "mine.py:task", "--batch-size", "8", "--set", "momentum=x"], "momentum='x' is not possible"),
        (["train", "mine.py:task", "--batch-size", "8", "--set", "batch_size=3"], "use --batch-size"),
        (["train", "mine.py:task", "--batch-size", "8", "--start-from", "gone.json"], "There is no gone.weights.pt"),
        (["train", "mine.py:task", "--batch-size", "8", "--shard-weights"], "start them with torchrun"),
        (["recipes", "magic"], "Recipe 'magic' is not known"),
        (["noise", "mine.py:task", "--batch-size", "500"], "batch_size=500 is above"),
        (["advise", "mine.py:task", "--current-batch-size", "0"], "current_batch_size=0 is not possible"),
        (["advise", "mine.py:task", "--budget", "-5"], "budget=-5.0 allows nothing"),
        (["advise", "mine.py:task", "--language", "fr"], "fr"),
        (["advise", "mine.py:task", "--objective", "fastest"], "--objective 'fastest' is not known: use time"),
        (["advise", "mine.py:task", "--objective", "examples"], "needs a limit"),
        (["advise", "mine.py:task", "--max-time", "3"], "belongs to the objective cost"),
        (["advise", "mine.py:task", "--devices", "0,1"], "Numbers of devices and a price belong"),
        (["advise", "mine.py:task", "--tokens-limit", "9", "--examples-limit", "9"], "say the same twice"),
        (["advise", "mine.py:task", "--recipe", "swap2020"], "averages the weights of several copies"),
        (["advise", "mine.py:task", "--recipe", "adaptive"], "changes its batch size"),
        (["advise", "mine.py:task", "--lr-decay", "odd"], "--lr-decay 'odd' is not known"),
        (["advise", "mine.py:task", "--set", "epochs=3"], "epochs is set by advise"),
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
    (command, name)
    for command, spec in COMMANDS.items()
    for name, argument in spec.arguments().items()
    if argument.kind is float and not argument.several and not spec.hidden
]


@pytest.mark.parametrize(("command", "name"), NUMBERS, ids=[".".join(pair) for pair in NUMBERS])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400"])
def test_no_option_takes_a_number_that_is_not_finite(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_size = ["--batch-size", "8"] if command == "train" else []
    words = [command, "digits-mlp", *batch_size, f"{COMMANDS[command].flag(name)}={value}"]
    assert critbatch(*words, monkeypatch=monkeypatch) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    shown = value.replace("1e400", "inf")
    assert re.match(rf"critbatch: (--\S+ {shown} is not possible: use a finite number\.|Invalid value for)", last)


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

    monkeypatch.setattr("critbatch.cli.explain.list_tasks", fail)
    assert critbatch("tasks", monkeypatch=monkeypatch) == 2
    assert re.search(rf"^critbatch: .*{sentence}", capsys.readouterr().err)


def test_another_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critbatch.cli.explain.list_tasks", lambda as_json: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        critbatch("tasks", monkeypatch=monkeypatch)


def test_ctrl_c_is_one_sentence_and_exit_code_130(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("critbatch.tasks.registry.find_task", interrupted)
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
    assert parse_ints(text, "--batch-sizes") == numbers


@pytest.mark.parametrize("text", ["", "8..4", "0..4", "a..b", "1,,2", "1.5"])
def test_anything_else_is_no_batch_sizes(text: str) -> None:
    with pytest.raises(UserError, match="use a list, 1,10,100, or doublings"):
        parse_ints(text, "--batch-sizes")


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


def test_the_list_of_commands_is_in_groups_and_each_line_fits_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch("--help", monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    groups = re.findall(r"^(Ask|Measure|Study|Explain):$", text, re.MULTILINE)
    assert groups == ["Ask", "Measure", "Study", "Explain"]
    assert max(map(len, text.splitlines())) <= 80
    for name, spec in COMMANDS.items():
        assert (re.search(rf"^  {name} +\S.*\.$", text, re.MULTILINE) is None) == spec.hidden
    assert critbatch(monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == text


def test_help_and_completion_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from critbatch.cli.app import run\n"
        "from critbatch.cli.options import COMMANDS\n"
        "[run([name, '--help']) for name in COMMANDS]\n"
        "print([name for name in ('torch', 'numpy', 'scipy', 'pydantic', 'rich') if name in sys.modules])\n"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert text.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["trian"], "There is no command 'trian'. Did you mean train?"),
        (["train", "x", "--batch-size", "8", "--learning-rates", "1"], "--learning-rate"),
        (["speed", "x", "--seed", "many"], "'many' is not a valid integer"),
        (["train", "x"], "Missing option '--batch-size'"),
        (["fit"], "Missing argument 'POINTS.csv'"),
        (["speed", "x", "--quiet", "--verbose"], "exclude each other"),
        (["watch", ".", "--every", "0"], "--every 0 is not possible"),
        (["sweep", "x", "--vary", "momentum"], "--vary 'momentum' is not understood"),
        (["report", ".", "--format", "doc"], "--format 'doc' is not known: use html, md, pdf, json"),
    ],
)
def test_words_that_are_not_understood_are_one_sentence_with_what_is_near(
    words: list[str], near: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("critbatch.tasks.registry.find_task", lambda name: tiny_task())
    assert critbatch(*words, monkeypatch=monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("critbatch: ") and near in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["advise", "x", "--within", "3"], {"max_time": 3.0}),
        (["advise", "x", "--within=3"], {"max_time": 3.0}),
        (["advise", "x", "--price", "2"], {"price_per_device_hour": 2.0}),
        (["advise", "x", "--margin", "0.1"], {"accuracy_margin": 0.1}),
        (["advise", "x", "--current", "64"], {"current_batch_size": 64}),
        (["advise", "x", "--objective", "soonest"], {"goal": "time"}),
        (["advise", "x", "--objective=cheapest"], {"goal": "cost"}),
        (["advise", "x", "--warm-up-epochs", "2"], {"warmup_epochs": 2.0}),
        (["advise", "x", "--lr-decay", "stairs"], {"lr_decay": "step"}),
        (["advise", "x", "--set", "decay=linear"], {"options": {"lr_decay": "linear"}}),
        (["sweep", "x", "--to-the-end"], {"stop_at_target": False}),
        (["sweep", "x", "--early-stopping"], {"prune": True}),
        (["sweep", "x", "--compiled"], {"compile": True}),
        (["sweep", "x", "--not-compiled"], {"compile": False}),
        (["sweep", "x", "--vary", "warm_up_epochs=1,2"], {"option_grid": {"warmup_epochs": (1, 2)}}),
        (["scale", "x", "--delay", "0.1"], {"delay_seconds": 0.1}),
        (["scale", "x", "--joining", "0.1"], {"joining_seconds": 0.1}),
        (["scale", "x", "--price", "2"], {"price_per_device_hour": 2.0}),
        (["lecture", "x", "--seeds", "3"], {"seeds": 3}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_old_name_works_with_one_notice(
    old: list[str], new: dict[str, Any], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}
    name = "claims" if old[0] == "lecture" else old[0]

    def function(context: object, **options: object) -> None:
        given.update(options)

    monkeypatch.setattr("critbatch.tasks.registry.find_task", lambda name: tiny_task())
    spec = COMMANDS[name]
    function.__module__, function.__name__ = spec.function.__module__, spec.function.__name__
    monkeypatch.setitem(COMMANDS, name, replace(spec, function=function))
    if name != old[0]:
        add_old_name(old[0], name)
    assert critbatch(*old, monkeypatch=monkeypatch) == 0
    assert given == new
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"critbatch: .+ is now called .+\. The old name stops working in the next release\.", line)
    monkeypatch.undo()
    add_old_name("lecture", "claims")


def test_quiet_prints_the_answer_alone_and_verbose_each_step_of_the_progress(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["speed", "mine.py:task", "--batch-sizes", "8,16", "--budget", "1", "--out", "out"]
    assert critbatch(*words, "-q", monkeypatch=monkeypatch) == 0
    quiet = capsys.readouterr()
    assert quiet.err == "" and quiet.out.strip() and "report.html" not in quiet.out
    assert critbatch(*words, "--verbose", monkeypatch=monkeypatch) == 0
    verbose = capsys.readouterr()
    assert verbose.out.strip().endswith("out/report.html")
    assert len([line for line in verbose.err.splitlines() if "trying batch size" in line]) > 2


def test_the_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch("--version", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"critbatch {critbatch_package.__version__}\n"


def completions(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a shell shows after these words, by the protocol of bash."""
    monkeypatch.setenv("_CRITBATCH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    critbatch(monkeypatch=monkeypatch)
    return [line.partition(",")[2] for line in capsys.readouterr().out.splitlines()]


def test_a_shell_completes_commands_options_and_choices(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completions("critbatch s", monkeypatch, capsys) == ["scale", "speed", "sharpness", "shift", "sweep"]
    assert completions("critbatch speed --se", monkeypatch, capsys) == ["--seed", "--seconds-per-point"]
    assert completions("critbatch advise x --objective ", monkeypatch, capsys) == [
        "time",
        "cost",
        "accuracy",
        "examples",
    ]
    assert completions("critbatch advise x --language ", monkeypatch, capsys) == ["en", "zh"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed_once(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    assert critbatch("--show-completion", monkeypatch=monkeypatch) == 0
    script = capsys.readouterr().out.strip()
    assert "_CRITBATCH_COMPLETE" in script
    for _ in range(2):
        assert critbatch("--install-completion", monkeypatch=monkeypatch) == 0
        assert "is installed in" in capsys.readouterr().out
    scripts = [path for path in tmp_path.rglob("*") if path.is_file() and script in path.read_text()]
    assert len(scripts) == 1
    if shell != "fish":
        assert (tmp_path / f".{shell}rc").read_text().count(str(scripts[0])) == 1


def test_a_shell_without_completion_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert critbatch("--show-completion", "csh", monkeypatch=monkeypatch) == 2
    assert "use bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ("", "train-4b99efefeabf.pt"),
        (
            "--decay cosine --warm-up-epochs 1 --set momentum=0.5 --order sequential --micro-batch-size 4 "
            "--norm-statistics running --zero-gamma",
            "train-a8b53604dcdc.pt",
        ),
    ],
    ids=["plain", "with options"],
)
def test_the_checkpoint_of_a_run_has_the_name_that_version_0_1_gave_it(
    more: str, name: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 0.1.0 wrote these names for these words, so it can be interrupted and this one resumes the run."""
    (here / "plain.py").write_text(TASK_FILE.replace("<b>mine</b>", "mine"))
    words = "train plain.py:task --batch-size 8 --learning-rate 0.01 --to-the-end --budget 0.0001 --out out"
    assert critbatch(*words.split(), *more.split(), monkeypatch=monkeypatch) == 0
    assert [path.name for path in (here / "out" / "checkpoints").glob("*.pt")] == [name]


def test_a_warning_of_critbatch_is_its_sentence_alone_and_another_as_python_shows_it() -> None:
    from critbatch.cli.main import _format_warning
    from critbatch.training import trainer

    assert _format_warning("Not compiled.", UserWarning, trainer.__file__, 7) == "critbatch: Not compiled.\n"
    assert "elsewhere.py:7: UserWarning: Odd." in _format_warning("Odd.", UserWarning, "/elsewhere.py", 7)
