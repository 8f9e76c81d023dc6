# The public names, by topic. Everything else is internal.

from . import recipes, records

# Ask.
from .advisor.advise import advise
from .claims.run import check_claims
from .errors import UserError
from .gradient_noise.monitor import Monitor
from .law.csv_points import fit
from .measure.critical_point import critical_point
from .measure.curvature import curvature
from .measure.device_scaling import scale
from .measure.distribution_shift import shift
from .measure.escape import escape
from .measure.landscape import landscape
from .measure.noise_scale import noise
from .measure.sharpness import sharpness
from .measure.step_time import speed
from .optim.adascale import AdaScale
from .optim.epoch_scheduler import EpochScheduler
from .optim.lamb import LAMB
from .optim.lars import LARS
from .records.claims import ClaimsReport
from .records.core import Advice, Estimate, Noise, Objective, Quantity, Record, Run, Speed, Target
from .records.loss_surface import CriticalPoint, Curvature, Escape, Landscape, Sharpness, Shift
from .records.monitor import MonitorAdvice
from .records.scaling import Scale
from .records.study import Fit, Study
from .reports.write import report
from .studies.export import export
from .studies.sweep import sweep
from .tasks.augmentation import Augmentation, flips_and_crops
from .tasks.data import Examples
from .tasks.registry import find_task
from .tasks.sampler import Order
from .tasks.task import Task, accuracy, cross_entropy
from .training.checkpoint import load_model
from .training.evaluation import Evaluation
from .training.state import Budget
from .training.trainer import train
from .version import __version__

__all__ = [
    "LAMB",
    "LARS",
    "AdaScale",
    "Advice",
    "Augmentation",
    "Budget",
    "ClaimsReport",
    "CriticalPoint",
    "Curvature",
    "EpochScheduler",
    "Escape",
    "Estimate",
    "Evaluation",
    "Examples",
    "Fit",
    "Landscape",
    "Monitor",
    "MonitorAdvice",
    "Noise",
    "Objective",
    "Order",
    "Quantity",
    "Record",
    "Run",
    "Scale",
    "Sharpness",
    "Shift",
    "Speed",
    "Study",
    "Target",
    "Task",
    "UserError",
    "__version__",
    "accuracy",
    "advise",
    "check_claims",
    "critical_point",
    "cross_entropy",
    "curvature",
    "escape",
    "export",
    "find_task",
    "fit",
    "flips_and_crops",
    "landscape",
    "load_model",
    "noise",
    "recipes",
    "records",
    "report",
    "scale",
    "sharpness",
    "shift",
    "speed",
    "sweep",
    "train",
]
