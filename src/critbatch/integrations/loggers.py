"""Loggers of a training run: CSV, JSON lines, TensorBoard, Weights & Biases.

Give one to `critbatch.train(..., callbacks=[...])`, or `--log` to `critbatch train`. A logger of your own is a
`critbatch.training.callbacks.Callback`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from critbatch.errors import UserError
from critbatch.records.core import CurvePoint, Run
from critbatch.training.callbacks import Callback, StepInfo

# Numbers of each evaluation that a tracker shows as curves.
CURVES = ("train_loss", "train_metric", "validation_loss", "validation_metric", "learning_rate")


class CsvLogger(Callback):
    """Appends a row for each evaluation to a CSV file.

    Args:
        path: The file. Its folder is made if it does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _ensure_folder(path)

    def on_evaluation(self, point: CurvePoint) -> None:
        row = asdict(point)
        is_new = not self.path.exists() or self.path.stat().st_size == 0
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)


class JsonLinesLogger(Callback):
    """Appends a line for the start of the run, each evaluation and the end to a file of JSON lines.

    Each line has the key "event": "start", "step", "evaluation" or "end". A number that is not finite is null.

    Args:
        path: The file. Its folder is made if it does not exist.
        every: Write every n-th step, too; 0 for none. Reading the loss waits for the device.
    """

    def __init__(self, path: str | Path, *, every: int = 0) -> None:
        self.path, self.every = _ensure_folder(path), every

    def on_start(self, run: Run) -> None:
        self._write("start", _settings(run))

    def on_step(self, info: StepInfo) -> None:
        if self.every and info.step % self.every == 0:
            self._write("step", {**vars(info), "loss": float(info.loss)})

    def on_evaluation(self, point: CurvePoint) -> None:
        self._write("evaluation", asdict(point))

    def on_end(self, run: Run) -> None:
        self._write("end", {"outcome": str(run.outcome), "steps": run.steps, "seconds": run.seconds})

    def _write(self, event: str, values: dict[str, Any]) -> None:
        finite = {name: None if value != value or value in _INFINITE else value for name, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **finite}) + "\n")


class TensorBoardLogger(Callback):
    """Writes curves for TensorBoard.

    Args:
        folder: For `tensorboard --logdir`.
        every: Write the loss of every n-th step, too; 0 for none.

    Raises:
        UserError: If tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, *, every: int = 0) -> None:
        self._open = _import("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self.folder, self.every = Path(folder), every
        self._writer: Any = None

    def on_start(self, run: Run) -> None:
        self._writer = self._open(log_dir=str(self.folder))
        self._writer.add_text("run", json.dumps(_settings(run)))

    def on_step(self, info: StepInfo) -> None:
        if self.every and info.step % self.every == 0:
            self._writer.add_scalar("step_loss", float(info.loss), info.step)

    def on_evaluation(self, point: CurvePoint) -> None:
        for name in CURVES:
            self._writer.add_scalar(name, getattr(point, name), point.step)

    def on_end(self, run: Run) -> None:
        self._writer.close()


class WandbLogger(Callback):
    """Sends curves to Weights & Biases.

    Args:
        every: Send the loss of every n-th step, too; 0 for none.
        settings: Arguments of `wandb.init`, such as `project="batch-size"`.

    Raises:
        UserError: If wandb is not installed.
    """

    def __init__(self, *, every: int = 0, **settings: Any) -> None:
        self._wandb = _import("wandb", "wandb")
        self.every, self.settings = every, settings
        self._run: Any = None

    def on_start(self, run: Run) -> None:
        self._run = self._wandb.init(config=_settings(run), **self.settings)

    def on_step(self, info: StepInfo) -> None:
        if self.every and info.step % self.every == 0:
            self._run.log({"step_loss": float(info.loss)}, step=info.step)

    def on_evaluation(self, point: CurvePoint) -> None:
        self._run.log({name: getattr(point, name) for name in CURVES}, step=point.step)

    def on_end(self, run: Run) -> None:
        self._run.summary["outcome"] = str(run.outcome)
        self._run.finish()


LOGGERS: dict[str, Callable[[Path], Callback]] = {
    "csv": lambda out: CsvLogger(out / "log.csv"),
    "jsonl": lambda out: JsonLinesLogger(out / "log.jsonl"),
    "tensorboard": lambda out: TensorBoardLogger(out / "tensorboard"),
    "wandb": lambda out: WandbLogger(project="critbatch", dir=str(out)),
}
"""Loggers by the name that `--log` takes, each given the folder of the command."""

_INFINITE = (float("inf"), float("-inf"))


def _settings(run: Run) -> dict[str, Any]:
    names = ("task", "recipe", "batch_size", "learning_rate", "seed")
    return {**{name: getattr(run, name) for name in names}, **run.options}


def _ensure_folder(path: str | Path) -> Path:
    file = Path(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {file.parent} cannot be made ({error.strerror}): give another place.") from error
    return file


def _import(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"This logger needs {package}: install it with `pip install {package}`.") from error
