"""critbatch: which batch size, with which learning rate, reaches your target soonest, and what does it cost?

The commands, as calls: `advise`, `speed`, `noise`, `train`, `sweep`, `curvature`, `sharpness`, `landscape`, `shift`,
`critical_point`, `escape`, `scale`, `fit`, `lecture`, `report`. A `Task` is what you bring, and an
`Augmentation` changes its training batches; a `Monitor` watches a loop of your own.
Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from critbatch.version import __version__

if TYPE_CHECKING:
    from critbatch.adascale import AdaScale
    from critbatch.augmentation import Augmentation
    from critbatch.batches import Order
    from critbatch.budget import Budget
    from critbatch.campaigns.advise import advise
    from critbatch.campaigns.export import export
    from critbatch.campaigns.lecture import lecture
    from critbatch.campaigns.sweep import sweep
    from critbatch.errors import UserError
    from critbatch.evaluation import Evaluation
    from critbatch.examples import Examples
    from critbatch.law.csv_points import fit
    from critbatch.measure.critical_point import critical_point
    from critbatch.measure.curvature import curvature
    from critbatch.measure.escape import escape
    from critbatch.measure.landscape import landscape
    from critbatch.measure.noise import noise
    from critbatch.measure.scale import scale
    from critbatch.measure.sharpness import sharpness
    from critbatch.measure.shift import shift
    from critbatch.measure.speed import speed
    from critbatch.monitor import Monitor
    from critbatch.optimizers.lamb import LAMB
    from critbatch.optimizers.lars import LARS
    from critbatch.records.core import Objective, Quantity, Target
    from critbatch.reporting import write_report as report
    from critbatch.schedulers import EpochScheduler
    from critbatch.solutions import load_model
    from critbatch.task import Task, accuracy, cross_entropy
    from critbatch.training import train
    from critbatch.zoo.find import find_task
    from critbatch.zoo.flips_and_crops import flips_and_crops

_PLACES = {
    "LAMB": "optimizers.lamb:LAMB",
    "LARS": "optimizers.lars:LARS",
    "AdaScale": "adascale:AdaScale",
    "Augmentation": "augmentation:Augmentation",
    "Budget": "budget:Budget",
    "EpochScheduler": "schedulers:EpochScheduler",
    "Evaluation": "evaluation:Evaluation",
    "Examples": "examples:Examples",
    "Monitor": "monitor:Monitor",
    "Objective": "records.core:Objective",
    "Order": "batches:Order",
    "Quantity": "records.core:Quantity",
    "Target": "records.core:Target",
    "Task": "task:Task",
    "UserError": "errors:UserError",
    "accuracy": "task:accuracy",
    "advise": "campaigns.advise:advise",
    "critical_point": "measure.critical_point:critical_point",
    "cross_entropy": "task:cross_entropy",
    "curvature": "measure.curvature:curvature",
    "escape": "measure.escape:escape",
    "fit": "law.csv_points:fit",
    "export": "campaigns.export:export",
    "find_task": "zoo.find:find_task",
    "flips_and_crops": "zoo.flips_and_crops:flips_and_crops",
    "landscape": "measure.landscape:landscape",
    "lecture": "campaigns.lecture:lecture",
    "load_model": "solutions:load_model",
    "noise": "measure.noise:noise",
    "report": "reporting:write_report",
    "scale": "measure.scale:scale",
    "sharpness": "measure.sharpness:sharpness",
    "shift": "measure.shift:shift",
    "speed": "measure.speed:speed",
    "sweep": "campaigns.sweep:sweep",
    "train": "training:train",
}
_ROOMS = ("recipes", "records")

__all__ = [
    "LAMB",
    "LARS",
    "AdaScale",
    "Augmentation",
    "Budget",
    "EpochScheduler",
    "Evaluation",
    "Examples",
    "Monitor",
    "Objective",
    "Order",
    "Quantity",
    "Target",
    "Task",
    "UserError",
    "__version__",
    "accuracy",
    "advise",
    "critical_point",
    "cross_entropy",
    "curvature",
    "escape",
    "export",
    "find_task",
    "fit",
    "flips_and_crops",
    "landscape",
    "lecture",
    "load_model",
    "noise",
    "report",
    "scale",
    "sharpness",
    "shift",
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
