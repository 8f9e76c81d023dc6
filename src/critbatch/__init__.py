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
    from critbatch.advisor.advise import advise
    from critbatch.claims.run import lecture
    from critbatch.errors import UserError
    from critbatch.gradient_noise.monitor import Monitor
    from critbatch.law.csv_points import fit
    from critbatch.measure.critical_point import critical_point
    from critbatch.measure.curvature import curvature
    from critbatch.measure.device_scaling import scale
    from critbatch.measure.distribution_shift import shift
    from critbatch.measure.escape import escape
    from critbatch.measure.landscape import landscape
    from critbatch.measure.noise_scale import noise
    from critbatch.measure.sharpness import sharpness
    from critbatch.measure.step_time import speed
    from critbatch.optim.adascale import AdaScale
    from critbatch.optim.lamb import LAMB
    from critbatch.optim.lars import LARS
    from critbatch.optim.lr_schedule import EpochScheduler
    from critbatch.records.core import Objective, Quantity, Target
    from critbatch.reporting import write_report as report
    from critbatch.studies.export import export
    from critbatch.studies.sweep import sweep
    from critbatch.tasks.augmentation import Augmentation, flips_and_crops
    from critbatch.tasks.data import Examples
    from critbatch.tasks.registry import find_task
    from critbatch.tasks.sampler import Order
    from critbatch.tasks.task import Task, accuracy, cross_entropy
    from critbatch.training.checkpoint import load_model
    from critbatch.training.evaluation import Evaluation
    from critbatch.training.state import Budget
    from critbatch.training.trainer import train

_PLACES = {
    "LAMB": "optim.lamb:LAMB",
    "LARS": "optim.lars:LARS",
    "AdaScale": "optim.adascale:AdaScale",
    "Augmentation": "tasks.augmentation:Augmentation",
    "Budget": "training.state:Budget",
    "EpochScheduler": "optim.lr_schedule:EpochScheduler",
    "Evaluation": "training.evaluation:Evaluation",
    "Examples": "tasks.data:Examples",
    "Monitor": "gradient_noise.monitor:Monitor",
    "Objective": "records.core:Objective",
    "Order": "tasks.sampler:Order",
    "Quantity": "records.core:Quantity",
    "Target": "records.core:Target",
    "Task": "tasks.task:Task",
    "UserError": "errors:UserError",
    "accuracy": "tasks.task:accuracy",
    "advise": "advisor.advise:advise",
    "critical_point": "measure.critical_point:critical_point",
    "cross_entropy": "tasks.task:cross_entropy",
    "curvature": "measure.curvature:curvature",
    "escape": "measure.escape:escape",
    "fit": "law.csv_points:fit",
    "export": "studies.export:export",
    "find_task": "tasks.registry:find_task",
    "flips_and_crops": "tasks.augmentation:flips_and_crops",
    "landscape": "measure.landscape:landscape",
    "lecture": "claims.run:lecture",
    "load_model": "training.checkpoint:load_model",
    "noise": "measure.noise_scale:noise",
    "report": "reporting:write_report",
    "scale": "measure.device_scaling:scale",
    "sharpness": "measure.sharpness:sharpness",
    "shift": "measure.distribution_shift:shift",
    "speed": "measure.step_time:speed",
    "sweep": "studies.sweep:sweep",
    "train": "training.trainer:train",
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
