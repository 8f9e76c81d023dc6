"""critbatch: which batch size, with which learning rate, reaches your target soonest, and what does it cost?

The commands, as calls: `advise`, `speed`, `noise`, `train`, `sweep`, `report`. A `Task` is what you bring.
Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from critbatch.records import Record
from critbatch.version import __version__

if TYPE_CHECKING:
    from critbatch.batches import Order
    from critbatch.budget import Budget
    from critbatch.campaigns.advise import advise
    from critbatch.campaigns.sweep import sweep
    from critbatch.errors import UserError
    from critbatch.evaluation import Evaluation
    from critbatch.examples import Examples
    from critbatch.measure.noise import noise
    from critbatch.measure.speed import speed
    from critbatch.records import Quantity, Target
    from critbatch.reporting import write_report as report
    from critbatch.task import Task, accuracy, cross_entropy
    from critbatch.training import train
    from critbatch.zoo.find import find_task

_PLACES = {
    "Budget": "budget:Budget",
    "Evaluation": "evaluation:Evaluation",
    "Examples": "examples:Examples",
    "Order": "batches:Order",
    "Quantity": "records:Quantity",
    "Target": "records:Target",
    "Task": "task:Task",
    "UserError": "errors:UserError",
    "accuracy": "task:accuracy",
    "advise": "campaigns.advise:advise",
    "cross_entropy": "task:cross_entropy",
    "find_task": "zoo.find:find_task",
    "noise": "measure.noise:noise",
    "report": "reporting:write_report",
    "speed": "measure.speed:speed",
    "sweep": "campaigns.sweep:sweep",
    "train": "training:train",
}
_ROOMS = ("recipes", "records")

__all__ = [
    "Budget",
    "Evaluation",
    "Examples",
    "Order",
    "Quantity",
    "Target",
    "Task",
    "UserError",
    "__version__",
    "accuracy",
    "advise",
    "cross_entropy",
    "find_task",
    "noise",
    "report",
    "speed",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        module, attribute = _PLACES[name].split(":")
        return getattr(import_module(f"critbatch.{module}"), attribute)
    if name in _ROOMS:
        return import_module(f"critbatch.{name}")
    raise AttributeError(f"module 'critbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS])


def _paint(record: Record) -> Any:
    return import_module("critbatch.reporting").figure(record)


Record.painter = _paint
