"""What the folder of a task holds already, for a command that builds on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from critbatch.cli.doing import Setting
from critbatch.cli.options import numbers
from critbatch.errors import UserError
from critbatch.records.core import Advice, Estimate, Record, Speed
from critbatch.records.io import load_records, read_record
from critbatch.records.scaling import Communication, Scale, StepMeasurement
from critbatch.records.study import Fit, Study

Kind = TypeVar("Kind", bound=Record)


@dataclass(frozen=True)
class Known:
    """Seconds of a step on one device, and what else is known."""

    record: Advice | Speed

    @property
    def first_batch_size(self) -> int:
        """The best one for one device, or the largest that was timed."""
        if isinstance(self.record, Advice) and self.record.best is not None:
            return self.record.best.batch_size
        speed = self.record.speed if isinstance(self.record, Advice) else self.record
        return speed.largest_that_fits


def known_of(setting: Setting, measured: str | None) -> tuple[Known, Communication | None, list[StepMeasurement]]:
    """The advice of the folder, or its speed; the link and the steps that `critbatch scale` measured there before.

    Raises:
        UserError: if there is neither, or they are of another task.
    """
    task = setting.task.name
    record = _read(setting.out / "advice.json", Advice) or _read(setting.out / "speed.json", Speed)
    if record is None:
        raise UserError(
            f"{setting.out} holds neither advice.json nor speed.json: run `critbatch advise {setting.task_name}` "
            f"first, or `critbatch speed {setting.task_name}` if steps to the target are known (--steps-law)."
        )
    if record.task != task:
        raise UserError(f"{setting.out} holds records of task {record.task!r}, not of {task!r}: give another --out.")
    before = _read(setting.out / "scale.json", Scale)
    given = _steps(measured) if measured is not None else None
    if before is None or before.task != task:
        return Known(record), None, given or []
    return Known(record), before.communication, given if given is not None else list(before.measurements)


def steps_of(
    setting: Setting, known: Known, *, law: str | None, record: Path | None
) -> Advice | Study | Fit | tuple[float, float] | None:
    """Where steps to the target are from: as given, or the folder's study or fit where its advice has none.

    Raises:
        UserError: if what was given cannot be read, or both were.
    """
    if law is not None and record is not None:
        raise UserError("--steps-law and --steps-from say the same thing twice: give one of them.")
    if law is not None:
        pair = numbers(law, "--steps-law") or []
        if len(pair) != 2:
            raise UserError(f"--steps-law {law!r} is not understood: give S_MIN,B_CRIT such as 220,130.")
        return pair[0], pair[1]
    if record is not None:
        for found in load_records(record):
            if isinstance(found, (Advice, Study, Fit)):
                return found
        raise UserError(f"{record} holds no law of steps to target: give an advice.json, study-….json or fit.json.")
    if isinstance(known.record, Advice) and known.record.law is not None:
        return None
    studies = sorted(setting.out.glob("study-*.json"))
    return _read(studies[0], Study) if studies else _read(setting.out / "fit.json", Fit)


def _read(path: Path, kind: type[Kind]) -> Kind | None:
    return read_record(path, kind) if path.is_file() else None


def _steps(text: str) -> list[StepMeasurement]:
    try:
        return [_step(part.split(":")) for part in text.split(",")]
    except (ValueError, IndexError):
        raise UserError(
            f"--measured {text!r} is not understood: give DEVICES:BATCH_SIZE:SECONDS,... such as 2:256:0.013, "
            "or DEVICES:BATCH_SIZE:SECONDS:MICRO_BATCH_SIZE where a step has several passes."
        ) from None


def _step(parts: Sequence[str]) -> StepMeasurement:
    devices, batch_size, seconds = int(parts[0]), int(parts[1]), float(parts[2])
    micro = int(parts[3]) if len(parts) == 4 else None
    possible = 1 <= devices <= batch_size and 0 < seconds < math.inf and (micro is None or 1 <= micro <= batch_size)
    if len(parts) not in (3, 4) or not possible:
        raise ValueError
    return StepMeasurement(
        devices=devices,
        batch_size=batch_size,
        step_seconds=Estimate(value=seconds, n=1, reason="given"),
        source="given",
        micro_batch_size=micro,
    )
