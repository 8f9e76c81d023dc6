"""A run looked at: how good the model is, whether it is over, how noisy its gradient is, whether its batch grows."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import nn

from critbatch.evaluation import Examiner
from critbatch.gradient_noise.estimator import FEWEST_PAIRS
from critbatch.gradient_noise.noise_meter import NoiseMeter
from critbatch.ledger import Ledger
from critbatch.optim.scaling_rules import scale_saturating
from critbatch.phases import PlanWalk
from critbatch.records.core import CurvePoint, Outcome, Quantity, Target
from critbatch.runtime.distributed import Shard, averaged_statistics
from critbatch.target_checks import refuse_nan_metric

# A loss this many times that of the untrained model is no detour any more.
DIVERGED = 100.0
PAIRS_PER_NOISE_POINT = 16


class Inspection:
    """Writes into the ledger of a run what an evaluation shows, and lets the batch grow where the plan says so.

    Args:
        examiner: evaluates the model.
        meter: has seen gradients since the last time.
        target: ends the run when it is reached; None for none.
        shard: of this process.
    """

    def __init__(self, examiner: Examiner, meter: NoiseMeter, target: Target | None, shard: Shard) -> None:
        self.examiner, self.meter, self.target, self.shard = examiner, meter, target, shard

    def look(
        self, model: nn.Module, ledger: Ledger, walk: PlanWalk, stops: Callable[[], bool] | None = None
    ) -> CurvePoint:
        """The point of the curve where the run is now; it is in the ledger then, with what follows from it.

        Args:
            stops: asked on the way where one process does all the work.

        Raises:
            EvaluationStoppedError: if `stops` said so; the ledger is as it was.
        """
        started = time.perf_counter()
        buffers = dict(model.named_buffers())
        for name, mean in averaged_statistics(buffers, self.shard).items():
            buffers[name].copy_(mean)
        numbers = self.examiner.examine(model, stops)
        ledger.evaluation_seconds += time.perf_counter() - started
        point = CurvePoint(
            step=ledger.step,
            examples=ledger.examples,
            epoch=walk.cursor.position,
            seconds=ledger.seconds,
            learning_rate=walk.learning_rate,
            batch_size=None if walk.batch_size == walk.plan.batch_size else walk.batch_size,
            **numbers,
        )
        if not ledger.curve and self.target is not None and self.target.quantity is Quantity.VALIDATION_METRIC:
            refuse_nan_metric(self.examiner.task, point.validation_metric)
        ledger.curve.append(point)
        if self.target is not None and self.target.reached_by(point):
            ledger.outcome = Outcome.REACHED
        elif not point.validation_loss <= DIVERGED * max(1.0, ledger.curve[0].validation_loss):
            ledger.outcome, ledger.diverged_at = Outcome.DIVERGED, ledger.step
        if len(self.meter.pairs) >= (PAIRS_PER_NOISE_POINT if ledger.outcome is None else FEWEST_PAIRS):
            ledger.noise.append(self.meter.take_point(step=ledger.step, epoch=point.epoch))
            _grow(ledger, walk)
        return point


def _grow(ledger: Ledger, walk: PlanWalk) -> None:
    """Take a larger batch where the plan grows it and the noise has come to be large enough."""
    growth = walk.phase.growth
    if growth is None:
        return
    size = growth.next_size(walk.batch_size, ledger.noise, examples=walk.cursor.examples)
    scale = growth.noise_scale(ledger.noise)
    if scale is None or size == walk.batch_size:
        return
    factor = scale_saturating(
        walk.rate_factor, from_batch=walk.batch_size, to_batch=size, noise_scale=scale, exponent=growth.exponent
    )
    walk.resize(size, factor, step=ledger.step)
