"""The schedule that advice is for: which plans the law of steps against batch size speaks of, and which decay."""

from __future__ import annotations

from collections.abc import Mapping

from critbatch.errors import UserError
from critbatch.recipes import options_of
from critbatch.recipes.plan import Plan
from critbatch.records.core import Setting
from critbatch.studies.spec import OF_PLANS, planned

GIVEN = {"batch_size": "is what is asked for", "learning_rate": "is what is asked for", "epochs": "follows"}
# Beyond the warm-up, so much below the peak: a schedule that decays.
DECAYED = 0.99


def checked_plan(recipe: str, options: Mapping[str, Setting], *, examples: int, epochs: float) -> Plan:
    """A plan of these options, to see what kind it is.

    Raises:
        UserError: if there is no such recipe or option, or the law does not apply to it.
    """
    known = [name for name in (*options_of(recipe), *OF_PLANS) if name not in GIVEN]
    for name in options:
        if name in GIVEN:
            raise UserError(f"{name} {GIVEN[name]} here: leave it out.")
        if name not in known:
            raise UserError(f"Recipe {recipe} has no option {name}: it has {', '.join(known)}; or use another recipe.")
    plan = planned(recipe, batch_size=min(examples, 64), learning_rate=0.01, epochs=epochs, options=options)
    if any(phase.copies > 1 for phase in plan.phases):
        raise UserError(
            f"Recipe {recipe} trains copies and takes their mean, of which the law of steps against batch size says "
            "nothing: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    if plan.needs_noise or len({phase.batch_size for phase in plan.phases}) > 1:
        raise UserError(
            f"Recipe {recipe} changes its batch size along the run, of which the law of steps against batch size says "
            "nothing: ask for advice with --recipe sgd or adam, and compare recipes with `critbatch sweep`."
        )
    return plan


def decays(plan: Plan) -> bool:
    """Whether the learning rate ends below its peak, so that a run's length must be planned.

    >>> from critbatch.recipes import sgd
    >>> [decays(sgd(batch_size=8, learning_rate=0.1, epochs=9, decay=decay)) for decay in ("constant", "cosine")]
    [False, True]
    """
    phase = plan.phases[-1]
    return phase.learning_rate(phase.epochs * (1 - 1e-9)) < DECAYED * plan.peak


def without_decay(recipe: str, options: Mapping[str, Setting]) -> dict[str, Setting]:
    """The options of the same recipe at a constant rate, as far as it can be told to; the warm-up stays.

    A recipe whose decay is its own is then run as the start of a very long run, where its rate has hardly decayed.
    """
    constant = {"decay": "constant"} if "decay" in options_of(recipe) else {}
    return {**options, **constant}


def least_epochs(options: Mapping[str, Setting]) -> float:
    """That a plan with these options needs: its warm-up and a little more, and the first stair after it."""
    warm_up = options.get("warm_up_epochs") or 0.0
    if isinstance(warm_up, (str, tuple)):
        return 0.0
    return float(warm_up) * (3.0 if options.get("decay") == "stairs" else 1.25)
