"""What became of the lecture's ten claims, from measured records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from critbatch.predict.claims_on_minima import on_generalization, on_minima
from critbatch.predict.claims_on_training import on_both, on_choice, on_noise, on_optimization
from critbatch.predict.claims_on_updates import on_batches, on_paths, on_time
from critbatch.predict.summary_table import on_summary
from critbatch.records.claims import (
    Claim,
    ClaimName,
    Holds,
    NetworkPair,
    Partition,
    Paths,
    RecipeRow,
    Statement,
    SummaryRow,
)
from critbatch.records.core import Advice, Speed
from critbatch.records.loss_surface import Escape, Sharpness, Shift
from critbatch.records.study import Study

NOT_ASKED = "lecture_not_asked"


def claims_of(
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
    missing: Mapping[ClaimName, str] | None = None,
) -> tuple[Claim, ...]:
    """All ten, in the lecture's order, judged by what there is.

    Args:
        task: whose claims they are.
        small: the batch size that recipes are held against.
        missing: why nothing was measured for a claim: a key of reporting/words.py.
    """
    told: dict[ClaimName, list[Statement]] = {
        ClaimName.BATCHES: on_batches(partitions, orders),
        ClaimName.PATHS: on_paths(paths) if paths is not None else [],
        ClaimName.TIME: on_time(speeds) if speeds else [],
        ClaimName.OPTIMIZATION: on_optimization(study) if study is not None else [],
        ClaimName.NOISE: on_noise(escapes, task),
        ClaimName.GENERALIZATION: on_generalization(networks),
        ClaimName.MINIMA: on_minima(sharpness, shifts),
        ClaimName.SUMMARY: on_summary(summary),
        ClaimName.CHOICE: on_choice(advice) if advice is not None else [],
        ClaimName.BOTH: on_both(recipes, small),
    }
    reasons = missing or {}
    return tuple(_claim(name, statements, reasons.get(name, NOT_ASKED)) for name, statements in told.items())


def _claim(name: ClaimName, statements: Sequence[Statement], missing: str) -> Claim:
    main = [statement.holds for statement in statements if statement.main]
    holds, reason = joined(main), "" if main else missing
    return Claim(name=name, holds=holds, statements=tuple(statements), reason=reason)


def joined(verdicts: Sequence[Holds]) -> Holds:
    """Held if all are, not held if one is not, undecided else and where there is none.

    >>> joined([Holds.HELD, Holds.UNDECIDED]), joined([Holds.NOT_HELD, Holds.UNDECIDED])
    (<Holds.UNDECIDED: 'undecided'>, <Holds.NOT_HELD: 'not_held'>)
    """
    if Holds.NOT_HELD in verdicts:
        return Holds.NOT_HELD
    return Holds.HELD if verdicts and Holds.UNDECIDED not in verdicts else Holds.UNDECIDED
