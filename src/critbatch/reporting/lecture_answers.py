"""The answer of a lecture: how many of its claims held, for the terminal and for the head of the page."""

from __future__ import annotations

from critbatch.records.claims import Holds, Lecture
from critbatch.reporting.blocks import Answer, Tile
from critbatch.reporting.lecture_readings import SIGNS, counted, finding, number_of, reduced
from critbatch.reports.translator import Translator


def lecture_answer(lecture: Lecture, t: Translator) -> Answer:
    """How many claims held, and at which batch sizes."""
    headline = t(
        "lecture_headline",
        n=len(lecture.claims),
        task=lecture.task,
        held=counted(lecture, Holds.HELD),
        not_held=counted(lecture, Holds.NOT_HELD),
        undecided=counted(lecture, Holds.UNDECIDED),
    )
    sizes = {"small": t.count(lecture.small_batch_size), "large": t.count(lecture.large_batch_size)}
    lead = [t("lecture_sizes", n=lecture.seeds, **sizes)]
    if reduced(lecture) and not lecture.full:
        lead.append(t("lecture_reduced"))
    return Answer(headline, tuple(lead))


def lecture_tiles(lecture: Lecture, t: Translator) -> list[Tile]:
    """A number for each verdict."""
    of = t("tile_of_claims", n=len(lecture.claims))
    return [Tile(t(f"tile_holds_{holds}"), t.count(counted(lecture, holds)), of) for holds in Holds]


def lecture_lines(lecture: Lecture, t: Translator) -> list[str]:
    """A line for each claim: sign, number, what it is, verdict, finding."""
    return [
        t(
            "lecture_line",
            sign=SIGNS[claim.holds],
            number=number_of(claim.name),
            claim=t(f"lecture_short_{claim.name}"),
            verdict=t(f"holds_{claim.holds}"),
            finding=finding(lecture, claim, t),
        )
        for claim in lecture.claims
    ]


def lecture_cautions(lecture: Lecture) -> list[str]:
    """Keys of `words.py`: parts that were left, why statements are undecided, and what holds of such a measurement."""
    found = ["lecture_one_seed"] if lecture.seeds == 1 else []
    found += [claim.reason for claim in lecture.claims]
    found += [
        statement.reason
        for claim in lecture.claims
        for statement in claim.statements
        if statement.holds is Holds.UNDECIDED
    ]
    return [*lecture.left, *found, "many_claims", "one_machine", "one_task"]
