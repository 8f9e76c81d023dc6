"""The answer of a lecture: how many of its claims held, for the terminal and for the head of the page."""

from __future__ import annotations

from critbatch.records.claims import Holds, Lecture
from critbatch.reporting.blocks import Answer, Tile
from critbatch.reporting.lecture_readings import SIGNS, counted, finding, number_of, reduced
from critbatch.reporting.voice import Voice


def lecture_answer(lecture: Lecture, voice: Voice) -> Answer:
    """How many claims held, and at which batch sizes."""
    headline = voice(
        "lecture_headline",
        n=len(lecture.claims),
        task=lecture.task,
        held=counted(lecture, Holds.HELD),
        not_held=counted(lecture, Holds.NOT_HELD),
        undecided=counted(lecture, Holds.UNDECIDED),
    )
    sizes = {"small": voice.count(lecture.small_batch_size), "large": voice.count(lecture.large_batch_size)}
    lead = [voice("lecture_sizes", n=lecture.seeds, **sizes)]
    if reduced(lecture) and not lecture.full:
        lead.append(voice("lecture_reduced"))
    return Answer(headline, tuple(lead))


def lecture_tiles(lecture: Lecture, voice: Voice) -> list[Tile]:
    """A number for each verdict."""
    of = voice("tile_of_claims", n=len(lecture.claims))
    return [Tile(voice(f"tile_holds_{holds}"), voice.count(counted(lecture, holds)), of) for holds in Holds]


def lecture_lines(lecture: Lecture, voice: Voice) -> list[str]:
    """A line for each claim: sign, number, what it is, verdict, finding."""
    return [
        voice(
            "lecture_line",
            sign=SIGNS[claim.holds],
            number=number_of(claim.name),
            claim=voice(f"lecture_short_{claim.name}"),
            verdict=voice(f"holds_{claim.holds}"),
            finding=finding(lecture, claim, voice),
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
