"""The lecture's claims on generalization: small batches do better on new data, and end in flatter minima."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from critbatch.predict.claims_on_training import METRIC_SHARE
from critbatch.predict.claims_on_updates import RATIO_MARGIN
from critbatch.predict.effects import judged, mean_ratio
from critbatch.records.claims import Measure, NetworkPair, Statement
from critbatch.records.loss_surface import Box, Sharpness, Shift, SolutionSharpness

CORRELATION_MARGIN = 0.3


def on_generalization(networks: Sequence[NetworkPair]) -> list[Statement]:
    """The validation metric of small batches less that of large ones, where both have come to one training metric."""
    return [
        judged(
            "generalizes",
            pair.difference,
            measure=Measure.DIFFERENCE,
            margin=METRIC_SHARE * abs(pair.small_validation.value),
            subject=pair.task,
            small_batch_size=pair.small_batch_size,
            large_batch_size=pair.large_batch_size,
        )
        for pair in networks
    ]


def on_minima(sharpness: Sequence[Sharpness], shifts: Sequence[Shift]) -> list[Statement]:
    """How much sharper the ends of large batches are, by measures that may disagree, and what a shift does to them."""
    told = []
    for record in sharpness:
        readings: dict[str, Callable[[SolutionSharpness], float | None]] = {
            "sharper": lambda each: _value(each, Box.FULL),
            "sharper_eigenvalue": lambda each: each.largest.value if each.largest is not None else None,
            "sharper_adaptive": lambda each: _value(each, Box.ADAPTIVE),
        }
        for key, read in readings.items():
            values = {each.solution.label: read(each) for each in record.solutions}
            if key != "sharper" and all(value is None for value in values.values()):
                continue
            told.append(_larger(key, record.solutions, values, main=key == "sharper", subject=record.setup.task))
    for shift in shifts:
        for key, name in (("suffers_validation", "validation"), ("suffers_noise", "noise")):
            rises = [rise for rise in shift.rises if rise.shift == name]
            strongest = max((rise.strength for rise in rises), default=0.0)
            values = {rise.label: rise.rise.value for rise in rises if rise.strength == strongest}
            main = key == "suffers_validation"
            told.append(_larger(key, shift.sharpness, values, main=main, subject=shift.setup.task))
        ranks = [each for each in shift.predictions if each.shift == "validation" and each.measure.startswith(Box.FULL)]
        told += [
            judged(
                "sharpness_ranks",
                each.correlation,
                measure=Measure.CORRELATION,
                margin=CORRELATION_MARGIN,
                main=False,
                subject=shift.setup.task,
            )
            for each in ranks
        ]
    return told


def _value(solution: SolutionSharpness, box: Box) -> float | None:
    """The sharpness in the widest box of this kind."""
    found = [each for each in solution.values if each.box is box]
    return max(found, key=lambda each: each.epsilon).value.value if found else None


def _larger(
    key: str,
    solutions: Sequence[SolutionSharpness],
    values: Mapping[str, float | None],
    *,
    main: bool,
    subject: str,
) -> Statement:
    """The value at the ends of large batches over that at small ones, in pairs of one seed."""
    sizes = sorted({each.solution.batch_size for each in solutions if each.solution.batch_size is not None})
    small, large = (sizes[0], sizes[-1]) if len(sizes) > 1 else (None, None)
    by_place = {(each.solution.batch_size, each.solution.seed): values.get(each.solution.label) for each in solutions}
    pairs = []
    for (size, seed), value in by_place.items():
        other = by_place.get((small, seed))
        if size == large != small and value is not None and other is not None:
            pairs.append((value, other))
    effect = mean_ratio(pairs)
    return judged(
        key,
        effect,
        measure=Measure.RATIO,
        margin=RATIO_MARGIN,
        main=main,
        subject=subject,
        small_batch_size=small,
        large_batch_size=large,
        reason="" if effect is not None else "lecture_no_small",
    )
