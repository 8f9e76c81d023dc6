"""Stops runs that are far behind others of their batch size: successive halving with Optuna's pruner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from critbatch.records.core import Quantity, Run
from critbatch.records.study import StudySpec
from critbatch.studies.database import quiet

# A run is compared after 1/8, 1/4 and 1/2 of its length; the better half continues.
PARTS = (1, 2, 4)
WHOLE = 8

Values = Mapping[int, float]


def hopeless(own: Values, others: Mapping[int, Values]) -> bool:
    """Whether to stop a run now.

    Jamieson and Talwalkar 2016, arXiv:1502.07943, in the asynchronous form of Li et al. 2018, arXiv:1810.05934: a run
    continues if it is in the better half of those that have come this far.

    Args:
        own: Values of the run at each of `PARTS` so far; smaller is better.
        others: Values of the other runs of its batch size and seed, by run id, in starting order.
    """
    import optuna
    from optuna.pruners import SuccessiveHalvingPruner
    from optuna.trial import TrialState, create_trial

    pruner = SuccessiveHalvingPruner(min_resource=PARTS[0], reduction_factor=2)
    verdict = False
    with quiet():
        study = optuna.create_study(pruner=pruner)
        for values in (*others.values(), own):
            storage: Any = study._storage
            trial = storage.create_new_trial(study._study_id, create_trial(state=TrialState.RUNNING))
            for part in sorted(values):
                storage.set_trial_intermediate_value(trial, part, values[part])
                verdict = pruner.prune(study, storage.get_trial(trial))
    return verdict


def standing(question: StudySpec, run: Run) -> float:
    """The best validation value of a run so far; smaller is better."""
    if question.target is not None and question.target.quantity is Quantity.VALIDATION_METRIC:
        return -max((p.validation_metric for p in run.curve if math.isfinite(p.validation_metric)), default=-math.inf)
    return min((p.validation_loss for p in run.curve if math.isfinite(p.validation_loss)), default=math.inf)


Report = Callable[[int, float], bool]
"""Takes a part of the length and the validation value there; returns whether to stop the run."""
