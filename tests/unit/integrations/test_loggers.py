"""Loggers write what a run did: files of rows, TensorBoard's events, what Weights & Biases is sent."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from critbatch.errors import UserError
from critbatch.integrations.loggers import LOGGERS, CsvLogger, JsonLinesLogger, TensorBoardLogger, WandbLogger
from critbatch.records.core import Run
from critbatch.training.callbacks import Callback
from critbatch.training.trainer import train
from tiny import tiny_plan, tiny_task

CPU = torch.device("cpu")


def logged(*callbacks: Callback) -> Run:
    return train(tiny_task(), tiny_plan("sgd", epochs=2.0), device=CPU, callbacks=callbacks)


def test_a_csv_file_holds_the_curve_and_a_second_run_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "curve.csv"
    first, second = logged(CsvLogger(file)), logged(CsvLogger(file))
    rows = list(csv.DictReader(file.read_text().splitlines()))
    points = [*first.curve, *second.curve]
    assert [(int(row["step"]), float(row["validation_loss"])) for row in rows] == [
        (point.step, point.validation_loss) for point in points
    ]


def test_json_lines_hold_start_steps_evaluations_and_end(tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    run = logged(JsonLinesLogger(file, every=2))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows[0]["event"] == "start" and rows[0]["recipe"] == "sgd" and rows[0]["batch_size"] == run.batch_size
    assert [row["step"] for row in rows if row["event"] == "step"] == list(range(2, run.steps + 1, 2))
    losses = [row["validation_loss"] for row in rows if row["event"] == "evaluation"]
    assert losses == [point.validation_loss for point in run.curve]
    assert rows[-1] == {"event": "end", "outcome": "finished", "steps": run.steps, "seconds": run.seconds}


def test_tensorboard_reads_the_curve(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = logged(TensorBoardLogger(tmp_path, every=1))
    events = accumulators.EventAccumulator(str(tmp_path)).Reload()
    points = [(event.step, event.value) for event in events.Scalars("validation_loss")]
    assert [step for step, _ in points] == [point.step for point in run.curve]
    assert [value for _, value in points] == pytest.approx([point.validation_loss for point in run.curve], rel=1e-6)
    assert len(events.Scalars("step_loss")) == run.steps


def test_weights_and_biases_is_sent_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, dict[str, Any]]] = []
    ends: list[str] = []
    tracked = SimpleNamespace(
        log=lambda values, step: sent.append((step, values)), summary={}, finish=lambda: ends.append("finished")
    )
    given: dict[str, Any] = {}

    def init(**settings: Any) -> SimpleNamespace:
        given.update(settings)
        return tracked

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    run = logged(WandbLogger(project="mine"))
    assert given["project"] == "mine" and given["config"]["learning_rate"] == run.learning_rate
    assert [(step, values["validation_loss"]) for step, values in sent] == [
        (point.step, point.validation_loss) for point in run.curve
    ]
    assert tracked.summary == {"outcome": "finished"} and ends == ["finished"]


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_a_package_that_is_missing_is_one_sentence(
    name: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=f"needs {package}: install it with `pip install {package}`"):
        LOGGERS[name](tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        CsvLogger(tmp_path / "file" / "log.csv")
