"""The summary table of small against large batches, and the verdicts on all ten claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from critbatch.claims.effects import difference, judge_fact, ratio
from critbatch.claims.verdicts import (
    METRIC_SHARE,
    RATIO_MARGIN,
    epoch,
    on_batches,
    on_both,
    on_choice,
    on_generalization,
    on_minima,
    on_noise,
    on_optimization,
    on_paths,
    on_time,
    seconds,
)
from critbatch.records.claims import (
    Claim,
    ClaimId,
    ClaimTest,
    ClaimVerdict,
    NetworkPair,
    Partition,
    Paths,
    RecipeRow,
    SummaryRow,
    Winner,
)
from critbatch.records.core import Advice, Estimate, Noise, Speed, SpeedPoint
from critbatch.records.loss_surface import Escape, Sharpness, Shift
from critbatch.records.study import BudgetUnit, Study

EXPECTED = {
    "update_alone": Winner.SMALL,
    "update_parallel": Winner.EVEN,
    "epoch": Winner.LARGE,
    "gradient": Winner.LARGE,
    "optimization": Winner.SMALL,
    "generalization": Winner.SMALL,
}


def summary_table(
    *,
    small: int,
    large: int,
    speeds: Sequence[Speed],
    noise: Noise | None,
    study: Study | None,
    networks: Sequence[NetworkPair],
) -> tuple[SummaryRow, ...]:
    """Each row at the batch sizes nearest to `small` and `large` that were measured."""
    rows = []
    if speeds:
        alone, shared = _two(speeds[0], small, large), _two(speeds[-1], small, large)
        if len(speeds) > 1 and alone is not None:
            row = _less_is_better("update_alone", "seconds", seconds(alone[0]), seconds(alone[1]))
            rows.append(_by_clock(row, speeds[0]))
        if shared is not None:
            row = _less_is_better("update_parallel", "seconds", seconds(shared[0]), seconds(shared[1]))
            rows.append(_by_clock(row, speeds[-1]))
            first, last = epoch(speeds[-1], shared[0]), epoch(speeds[-1], shared[1])
            rows.append(_by_clock(_less_is_better("epoch", "seconds", first, last), speeds[-1]))
    if noise is not None and (scale := _noise_scale(noise)) is not None:
        rows.append(_less_is_better("gradient", "share", _over(scale, small), _over(scale, large)))
    if study is not None and (both := _trained(study, small, large)) is not None:
        rows.append(_more_is_better("optimization", *both, difference(*both)))
    if networks:
        pair = networks[0]
        rows.append(_more_is_better("generalization", pair.small_validation, pair.large_validation, pair.difference))
    return tuple(rows)


def on_summary(rows: Sequence[SummaryRow]) -> list[ClaimTest]:
    """Whether each row has the winner that the claim expects."""
    return [
        judge_fact("table_row", row.better is row.expected, subject=row.key)
        for row in rows
        if row.better is not Winner.OPEN
    ]


def _by_clock(row: SummaryRow, speed: Speed) -> SummaryRow:
    """Call an even row open if other work disturbed the timing: overlapping intervals then show no equality."""
    busy = speed.check is not None and speed.check.is_busy
    return replace(row, better=Winner.OPEN) if busy and row.better is Winner.EVEN else row


def _two(speed: Speed, small: int, large: int) -> tuple[SpeedPoint, SpeedPoint] | None:
    timed = [point for point in speed.fitting if point.step_seconds is not None]
    if not timed:
        return None
    near = [min(timed, key=lambda point: abs(point.batch_size - size)) for size in (small, large)]
    return (near[0], near[1]) if near[0] is not near[1] else None


def _noise_scale(noise: Noise) -> Estimate | None:
    """Noise scale at the last point of the run that has a signal and an interval."""
    for point in reversed(noise.points):
        scale = point.scale
        if scale.low is not None and scale.high is not None and scale.noise_scale < float("inf") and scale.low > 0:
            return Estimate(value=scale.noise_scale, n=scale.pairs, low=scale.low, high=scale.high, level=scale.level)
    return None


def _over(scale: Estimate, batch_size: int) -> Estimate:
    """Noise-to-signal ratio of a batch's gradient: tr(Sigma) / B over |G|^2."""
    assert scale.low is not None and scale.high is not None
    low, high = scale.low / batch_size, scale.high / batch_size
    return Estimate(value=scale.value / batch_size, n=scale.n, low=low, high=high, level=scale.level)


def _trained(study: Study, small: int, large: int) -> tuple[Estimate, Estimate] | None:
    """Training metric of both sizes at equal epochs, with tuned learning rates."""
    readings = study.analysis.budgets if study.analysis is not None else ()
    reading = next((each for each in readings if each.spent is BudgetUnit.EPOCHS and each.tuned), None)
    if reading is None:
        return None
    near = [min(reading.points, key=lambda point: abs(point.batch_size - size)) for size in (small, large)]
    return (near[0].train_metric, near[1].train_metric) if near[0] is not near[1] else None


def _less_is_better(key: str, unit: str, small: Estimate, large: Estimate) -> SummaryRow:
    effect = ratio(small, large)
    better = Winner.EVEN
    if effect.low is None or effect.high is None:
        better = Winner.OPEN
    elif effect.low > 1 and effect.value > RATIO_MARGIN:
        better = Winner.LARGE
    elif effect.high < 1 and effect.value < 1 / RATIO_MARGIN:
        better = Winner.SMALL
    return SummaryRow(key=key, unit=unit, small=small, large=large, better=better, expected=EXPECTED[key])


def _more_is_better(key: str, small: Estimate, large: Estimate, effect: Estimate) -> SummaryRow:
    margin = METRIC_SHARE * abs(small.value)
    better = Winner.EVEN
    if effect.low is None or effect.high is None:
        better = Winner.OPEN
    elif effect.low > 0 and effect.value > margin:
        better = Winner.SMALL
    elif effect.high < 0 and effect.value < -margin:
        better = Winner.LARGE
    return SummaryRow(key=key, unit="metric", small=small, large=large, better=better, expected=EXPECTED[key])


# The verdicts.

NOT_SELECTED = "lecture_not_asked"


def judge_claims(
    *,
    task: str,
    small: int,
    partitions: Sequence[Partition] = (),
    orders: Study | None = None,
    paths: Paths | None = None,
    speeds: Sequence[Speed] = (),
    study: Study | None = None,
    escapes: Sequence[Escape] = (),
    networks: Sequence[NetworkPair] = (),
    sharpness: Sequence[Sharpness] = (),
    shifts: Sequence[Shift] = (),
    summary: Sequence[SummaryRow] = (),
    advice: Advice | None = None,
    recipes: Sequence[RecipeRow] = (),
    missing: Mapping[ClaimId, str] | None = None,
) -> tuple[Claim, ...]:
    """Judge all ten claims, in order, by the records that there are.

    Args:
        task: Name of the task.
        small: Batch size that recipes are compared with.
        missing: Why nothing was measured for a claim: a key of reports/messages.
    """
    tests: dict[ClaimId, list[ClaimTest]] = {
        ClaimId.BATCHES: on_batches(partitions, orders),
        ClaimId.PATHS: on_paths(paths) if paths is not None else [],
        ClaimId.TIME: on_time(speeds) if speeds else [],
        ClaimId.OPTIMIZATION: on_optimization(study) if study is not None else [],
        ClaimId.NOISE: on_noise(escapes, task),
        ClaimId.GENERALIZATION: on_generalization(networks),
        ClaimId.MINIMA: on_minima(sharpness, shifts),
        ClaimId.SUMMARY: on_summary(summary),
        ClaimId.CHOICE: on_choice(advice) if advice is not None else [],
        ClaimId.BOTH: on_both(recipes, small),
    }
    reasons = missing or {}
    return tuple(_claim(name, statements, reasons.get(name, NOT_SELECTED)) for name, statements in tests.items())


def _claim(name: ClaimId, statements: Sequence[ClaimTest], missing: str) -> Claim:
    main = [statement.holds for statement in statements if statement.main]
    holds, reason = combine_verdicts(main), "" if main else missing
    return Claim(name=name, holds=holds, statements=tuple(statements), reason=reason)


def combine_verdicts(verdicts: Sequence[ClaimVerdict]) -> ClaimVerdict:
    """Not held if one verdict is that, held if all are held, undecided otherwise or if there are none.

    >>> combine_verdicts([ClaimVerdict.HELD, ClaimVerdict.UNDECIDED])
    <ClaimVerdict.UNDECIDED: 'undecided'>
    >>> combine_verdicts([ClaimVerdict.NOT_HELD, ClaimVerdict.UNDECIDED])
    <ClaimVerdict.NOT_HELD: 'not_held'>
    """
    if ClaimVerdict.NOT_HELD in verdicts:
        return ClaimVerdict.NOT_HELD
    return ClaimVerdict.HELD if verdicts and ClaimVerdict.UNDECIDED not in verdicts else ClaimVerdict.UNDECIDED
