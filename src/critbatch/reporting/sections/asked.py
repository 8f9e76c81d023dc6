"""What a study tried, and how its runs ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from critbatch.records.core import Outcome, Run, Target
from critbatch.records.study import Question, Search, Study
from critbatch.reporting.blocks import Block, Bullets, Facts, Section, Text
from critbatch.reporting.readings import metric_name
from critbatch.reports.translator import Translator

# A list that is longer than this is told by its ends.
MOST_LISTED = 16


def asked_section(study: Study, t: Translator) -> Section:
    """Sizes, rates, seeds and lengths of the question; how many runs ended in which way."""
    asked = study.question
    pairs = [
        (t("column_recipe"), asked.recipe),
        (t("asked_sizes"), listed([t.count(size) for size in asked.batch_sizes], t)),
        (t("asked_rates"), rates_asked(asked, t)),
        (t("asked_seeds"), listed([str(seed) for seed in asked.seeds], t)),
        (t("asked_length"), length_asked(asked, t)),
    ]
    if asked.target is None:
        pairs.append((t("asked_target"), t("asked_no_target")))
    else:
        pairs.append((t("asked_target"), t.target(asked.target, metric_name(study.runs))))
        pairs.append((t("asked_at_target"), t("asked_ends" if asked.stops_at_target else "asked_goes_on")))
    pairs.append((t("asked_stopping"), t("asked_stopped" if asked.stops_early else "asked_not_stopped")))
    if asked.fixed:
        pairs.append((t("asked_fixed"), t.options(asked.fixed)))
    if asked.varied:
        pairs.append((t("asked_varied"), t.choices(asked.varied)))
    blocks: list[Block] = [Text(t("asked_text")), Facts(tuple(pairs))]
    told = outcomes(study.runs, study.left, t, target=asked.target)
    blocks.append(Bullets(tuple(told), t("outcomes_title")))
    return Section("asked", t("section_asked"), tuple(blocks))


def outcomes(runs: Sequence[Run], left: int, t: Translator, *, target: Target | None) -> list[str]:
    """A sentence for each way in which runs ended. One that went on after the target has reached it too."""
    counts = Counter(_ending(run, target) for run in runs)
    counts["left"] = left
    order = ("reached", "finished", "missed", "stopped", "diverged", "out_of_memory", "interrupted", "left")
    return [t(f"outcomes_{key}", n=counts[key]) for key in order if counts[key]]


def _ending(run: Run, target: Target | None) -> str:
    if run.stopped_early:
        return "stopped"
    if run.crossing is not None or (target is not None and target.crossing(run.curve) is not None):
        return "reached"
    if run.outcome is Outcome.FINISHED:
        return "missed" if target is not None else "finished"
    return str(run.outcome)


def rates_asked(asked: Question, t: Translator) -> str:
    if asked.search is Search.GIVEN or (asked.search is not Search.WIDENING and asked.learning_rates):
        return listed([t.rate(rate) for rate in asked.learning_rates], t)
    trials = t.count(asked.trials) if asked.trials is not None else "?"
    return t(f"search_{asked.search}", trials=trials)


def length_asked(asked: Question, t: Translator) -> str:
    told = []
    if asked.epochs is not None:
        told.append(t("amount_epochs", value=t.about(asked.epochs)))
    if asked.steps is not None:
        told.append(t("amount_steps", value=t.count(asked.steps)))
    if asked.seconds is not None:
        told.append(t.seconds(asked.seconds))
    if not told:
        return "–"
    return told[0] if len(told) == 1 else t("asked_longest", lengths=t("comma").join(told))


def listed(told: Sequence[str], t: Translator) -> str:
    if not told:
        return "–"
    if len(told) > MOST_LISTED:
        return t("list_ends", n=len(told), first=told[0], last=told[-1])
    return t("comma").join(told)
