"""What one tuned run at another batch size would take, by the fitted law."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scipy.special import stdtrit

from critbatch.errors import UserError
from critbatch.predict.law_fit import bounded_exp
from critbatch.predict.trade_off import FittedTradeOff
from critbatch.predict.wider_law import WiderLaw, log_steps
from critbatch.records.study import Prediction

LEVEL = 0.8


def predict_runs(fitted: FittedTradeOff, batch_sizes: Iterable[int], *, level: float = LEVEL) -> tuple[Prediction, ...]:
    """Steps and epochs to the target at each batch size, with the interval that one more tuned run falls into.

    It joins, as squares of logarithms, the interval of the wider law at that size and Student's t times the scatter of
    a run: for a straight line that is the usual prediction interval. The wider law has an exponent and a drift, so that
    the interval grows with the distance from the sizes that were run. None where the points tell a budget alone.

    Raises:
        UserError: if a size is not possible.
    """
    sizes = tuple(batch_sizes)
    for size in sizes:
        if size < 1:
            raise UserError(f"A batch size of {size} is not possible: use 1 or more.")
    return () if fitted.wider is None else tuple(_prediction(fitted, fitted.wider, size, level) for size in sizes)


def run_ends(law: WiderLaw, batch_size: float, level: float = LEVEL) -> tuple[float, float, float]:
    """The low end, the middle and the high end of log(steps) of one more run."""
    quantity = log_steps(batch_size)
    middle = law.value(quantity)
    low, high = law.ends(quantity, level)
    of_a_run = float(stdtrit(law.freedom, (1 + level) / 2)) * law.scatter
    return middle - math.hypot(middle - low, of_a_run), middle, middle + math.hypot(high - middle, of_a_run)


def _prediction(fitted: FittedTradeOff, law: WiderLaw, batch_size: int, level: float) -> Prediction:
    low, middle, high = (bounded_exp(one) for one in run_ends(law, batch_size, level))
    if fitted.in_epochs:
        low, middle, high = (one * batch_size for one in (low, middle, high))
        return Prediction(batch_size=batch_size, steps=None, epochs=middle, low=low, high=high, level=level)
    epochs = None if fitted.examples is None else middle * batch_size / fitted.examples
    return Prediction(batch_size=batch_size, steps=middle, epochs=epochs, low=low, high=high, level=level)
