"""The record of a lecture, from what was measured for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from critbatch.campaigns.lecture_networks import sharpness_of
from critbatch.errors import UserError
from critbatch.predict.claims import NOT_ASKED, claims_of
from critbatch.predict.summary_table import summary_table
from critbatch.records.claims import ClaimName, Lecture, Partition, RecipeRow
from critbatch.records.core import Provenance
from critbatch.tasks.sampler import Order, epoch_order
from critbatch.tasks.task import Task

C = ClaimName
EXAMPLES_OF_PICTURE, BATCH_OF_PICTURE, EPOCHS_OF_PICTURE = 20, 5, 3


def told(
    task: Task,
    found: Mapping[str, Any],
    *,
    asked: set[ClaimName],
    missing: Mapping[ClaimName, str],
    recipes: Sequence[RecipeRow],
    small: int,
    large: int,
    seeds: int,
    full: bool,
    provenance: Provenance,
) -> Lecture:
    """Judge what there is, and put it together. What was measured for other claims alone is left out.

    Args:
        found: lists of results by their names; a UserError where one failed.
        missing: why nothing was measured for a claim.
    """

    def all_of(name: str) -> list[Any]:
        return [each for each in found.get(name, ()) if each is not None and not isinstance(each, UserError)]

    def last_of(name: str) -> Any:
        """Of several that share the work, the one that saw all of it."""
        return (all_of(name) or [None])[-1]

    study, orders = (each if each is not None and each.runs else None for each in (last_of("study"), last_of("orders")))
    noise, speeds, pairs = last_of("noise"), all_of("speeds"), all_of("pairs")
    table = summary_table(small=small, large=large, speeds=speeds, noise=noise, study=study, networks=pairs)
    parts: dict[str, Any] = {
        "partitions": partitions() if C.BATCHES in asked else (),
        "orders": orders,
        "paths": last_of("paths"),
        "speeds": tuple(speeds) if C.TIME in asked else (),
        "study": study if C.OPTIMIZATION in asked else None,
        "escapes": tuple(all_of("escapes")),
        "networks": tuple(pairs) if C.GENERALIZATION in asked else (),
        "sharpness": tuple(sharpness_of(shift) for shift in all_of("shifts")),
        "shifts": tuple(all_of("shifts")),
        "summary": table if C.SUMMARY in asked else (),
        "advice": found.get("advice"),
        "recipes": tuple(recipes),
    }
    failed = {"lecture_recipe_failed" for each in found.get("others", ()) if isinstance(each, UserError)}
    claims = claims_of(task=task.name, small=small, missing=missing, **parts)
    return Lecture(
        task=task.name,
        unit=task.unit,
        examples=task.examples,
        metric_name=task.metric_name,
        seeds=seeds,
        small_batch_size=small,
        large_batch_size=large,
        full=full,
        claims=claims,
        lines=tuple(all_of("lines")),
        noise=noise,
        left=tuple(sorted(({claim.reason for claim in claims if claim.reason} | failed) - {NOT_ASKED})),
        provenance=provenance,
        **parts,
    )


def partitions() -> tuple[Partition, ...]:
    """How each way of shuffling puts twenty examples into batches of five."""
    return tuple(
        Partition(
            order=str(order),
            batch_size=BATCH_OF_PICTURE,
            epochs=tuple(
                tuple(epoch_order(EXAMPLES_OF_PICTURE, seed=0, epoch=epoch, order=order).tolist())
                for epoch in range(EPOCHS_OF_PICTURE)
            ),
        )
        for order in Order
    )
