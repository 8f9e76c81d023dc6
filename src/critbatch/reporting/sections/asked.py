"""What a study tried, and how its runs ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from critbatch.records.core import Outcome, Run, Target
from critbatch.records.study import Question, Search, Study
from critbatch.reporting.blocks import Block, Bullets, Facts, Section, Text
from critbatch.reporting.readings import metric_name
from critbatch.reporting.voice import Voice

# A list that is longer than this is told by its ends.
MOST_LISTED = 16


def asked_section(study: Study, voice: Voice) -> Section:
    """Sizes, rates, seeds and lengths of the question; how many runs ended in which way."""
    asked = study.question
    pairs = [
        (voice("column_recipe"), asked.recipe),
        (voice("asked_sizes"), listed([voice.count(size) for size in asked.batch_sizes], voice)),
        (voice("asked_rates"), rates_asked(asked, voice)),
        (voice("asked_seeds"), listed([str(seed) for seed in asked.seeds], voice)),
        (voice("asked_length"), length_asked(asked, voice)),
    ]
    if asked.target is None:
        pairs.append((voice("asked_target"), voice("asked_no_target")))
    else:
        pairs.append((voice("asked_target"), voice.target(asked.target, metric_name(study.runs))))
        pairs.append((voice("asked_at_target"), voice("asked_ends" if asked.stops_at_target else "asked_goes_on")))
    pairs.append((voice("asked_stopping"), voice("asked_stopped" if asked.stops_early else "asked_not_stopped")))
    if asked.fixed:
        pairs.append((voice("asked_fixed"), voice.options(asked.fixed)))
    if asked.varied:
        pairs.append((voice("asked_varied"), voice.choices(asked.varied)))
    blocks: list[Block] = [Text(voice("asked_text")), Facts(tuple(pairs))]
    told = outcomes(study.runs, study.left, voice, target=asked.target)
    blocks.append(Bullets(tuple(told), voice("outcomes_title")))
    return Section("asked", voice("section_asked"), tuple(blocks))


def outcomes(runs: Sequence[Run], left: int, voice: Voice, *, target: Target | None) -> list[str]:
    """A sentence for each way in which runs ended. One that went on after the target has reached it too."""
    counts = Counter(_ending(run, target) for run in runs)
    counts["left"] = left
    order = ("reached", "finished", "missed", "stopped", "diverged", "out_of_memory", "interrupted", "left")
    return [voice(f"outcomes_{key}", n=counts[key]) for key in order if counts[key]]


def _ending(run: Run, target: Target | None) -> str:
    if run.stopped_early:
        return "stopped"
    if run.crossing is not None or (target is not None and target.crossing(run.curve) is not None):
        return "reached"
    if run.outcome is Outcome.FINISHED:
        return "missed" if target is not None else "finished"
    return str(run.outcome)


def rates_asked(asked: Question, voice: Voice) -> str:
    if asked.search is Search.GIVEN or (asked.search is not Search.WIDENING and asked.learning_rates):
        return listed([voice.rate(rate) for rate in asked.learning_rates], voice)
    trials = voice.count(asked.trials) if asked.trials is not None else "?"
    return voice(f"search_{asked.search}", trials=trials)


def length_asked(asked: Question, voice: Voice) -> str:
    told = []
    if asked.epochs is not None:
        told.append(voice("amount_epochs", value=voice.about(asked.epochs)))
    if asked.steps is not None:
        told.append(voice("amount_steps", value=voice.count(asked.steps)))
    if asked.seconds is not None:
        told.append(voice.seconds(asked.seconds))
    if not told:
        return "–"
    return told[0] if len(told) == 1 else voice("asked_longest", lengths=voice("comma").join(told))


def listed(told: Sequence[str], voice: Voice) -> str:
    if not told:
        return "–"
    if len(told) > MOST_LISTED:
        return voice("list_ends", n=len(told), first=told[0], last=told[-1])
    return voice("comma").join(told)
