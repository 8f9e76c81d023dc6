"""Chapters of a report, one per record: answer, tiles, picture, sections, cautions and provenance."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from critbatch.errors import UserError
from critbatch.records.core import Machine, Provenance, Record, Run
from critbatch.reports.charts.theme import Picture
from critbatch.reports.model import Answer, Block, Bullets, Chapter, Facts, Method, Section, Text
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import VIEWS, Subject, view_of
from critbatch.reports.views.speed import clock_warning

# Cautions about what was not measured. They are shown apart from weaknesses, since the numbers themselves are right.
NOT_MEASURED = ("generalization_not_measured", "no_noise_measured", "one_machine", "one_task")


def subjects(records: Sequence[Record]) -> list[Subject]:
    """The subjects of the chapters, in the order of the records. Runs of one task are one subject.

    Raises:
        UserError: if there is no record, or no chapter can be made of one.
    """
    if not records:
        raise UserError("There is no record to report: make one with `critbatch advise TASK`.")
    chapters: list[Subject] = []
    shown_elsewhere = [part for record in records if not isinstance(record, Run) for part in _records_shown(record)]
    runs: dict[str, list[Run]] = {}
    for record in records:
        if isinstance(record, Run):
            if record.task not in runs:
                runs[record.task] = []
                chapters.append(runs[record.task])
            runs[record.task].append(record)
        elif not any(_same(record, part) for part in shown_elsewhere):
            view_of(record).check(record)
            chapters.append(record)
    return chapters


def _records_shown(record: Record) -> Sequence[Record | None]:
    return view_of(record).records_shown(record)


def _same(record: Record, other: Record | None) -> bool:
    """Compare by JSON, since a loss of NaN is not equal to itself."""
    return type(record) is type(other) and other is not None and record.to_json() == other.to_json()


def cautions(subject: Subject) -> list[str]:
    """Message keys of the cautions, each once, those of the record first."""
    return [key for key in dict.fromkeys(view_of(subject).cautions(subject)) if key]


def answer(subject: Subject, t: Translator) -> Answer:
    """The answer of a record, for the terminal and the head of the page. Runs of one task have one answer."""
    view = view_of(subject)
    own_cautions, view_answer = view.own_cautions(subject), view.answer(subject, t)
    keys = [key for key in cautions(subject) if key in own_cautions or key not in NOT_MEASURED]
    warning = clock_warning(view.speeds(subject), t)
    return Answer(
        view_answer.headline, view_answer.lead, view_answer.more, tuple(t.reason(key) for key in keys), warning
    )


def chapter(subject: Subject, t: Translator) -> Chapter:
    """The chapter of a record, or of the runs of one task."""
    view = view_of(subject)
    tiles, hero, sections = view.parts(subject, t)
    ends = (trust_section(subject, t), again_section(subject, t))
    return Chapter(view.name(subject), answer(subject, t), tuple(tiles), hero, (*sections, *ends))


def trust_section(subject: Subject, t: Translator) -> Section:
    """Weaknesses that were found, and what was not measured."""
    keys = cautions(subject)
    weak = tuple(t.reason(key) for key in keys if key not in NOT_MEASURED)
    absent = tuple(t.reason(key) for key in keys if key in NOT_MEASURED)
    blocks: list[Block] = [Bullets(weak, t("trust_weak")) if weak else Text(t("trust_no_weakness"))]
    if absent:
        blocks.append(Bullets(absent, t("trust_absent")))
    n = t("method_n_loss" if view_of(subject).of_loss_surface else "method_n")
    blocks.append(Method((t("method_interval"), n), title=t("words_interval")))
    return Section("trust", t("section_trust"), tuple(blocks))


def again_section(subject: Subject, t: Translator) -> Section:
    """Command, versions, machine, seeds."""
    title = t("section_again")
    view = view_of(subject)
    provenance = view.provenance(subject)
    if provenance is None:
        return Section("again", title, (Text(t("again_nothing")),))
    rows = (*_facts(provenance, view.runs(subject), t), *_machine(provenance.machine, t))
    facts = Facts(rows, code=provenance.command)
    text, keys = "again_text", ("word_batch", "word_step", "word_epoch", "word_target", "word_noise")
    if view.of_loss_surface:
        text, keys = "again_loss_text", ("word_batch", "word_step", "word_solution", "word_hessian", "word_saddle")
    words = Method(tuple(t(key) for key in keys), title=t("words_used"))
    return Section("again", title, (Text(t(text)), facts, words))


def _facts(provenance: Provenance, runs: Sequence[Run], t: Translator) -> list[tuple[str, str]]:
    pairs = [
        (t("fact_started"), provenance.started.replace("T", " ").removesuffix("Z")),
        (t("fact_took"), t.seconds(provenance.wall_seconds)),
        (t("fact_seed"), str(provenance.seed)),
    ]
    seeds = sorted({run.seed for run in runs})
    if seeds:
        pairs.append((t("fact_run_seeds"), ", ".join(str(seed) for seed in seeds)))
    return pairs


def _machine(machine: Machine, t: Translator) -> list[tuple[str, str]]:
    device = f"{machine.device} ({machine.accelerator})" if machine.accelerator else machine.device
    return [
        (t("fact_processor"), machine.processor),
        (t("fact_cores"), t("cores_and_threads", cores=machine.cores, threads=machine.threads)),
        (t("fact_memory"), t.bytes(machine.memory_bytes)),
        (t("fact_device"), device),
        (t("fact_system"), machine.system),
        ("Python", machine.python),
        ("PyTorch", machine.torch),
        ("critbatch", machine.critbatch),
    ]


# The summary in a terminal.


def summary(record: Record, language: str = "en") -> str:
    """The answer as plain text: headline and lead, then details, then what to distrust.

    Raises:
        UserError: if `language` does not exist, or the record has no summary.
    """
    t = Translator(language)
    (subject,) = subjects([record])
    full_answer = answer(subject, t)
    warning = [t("warning", sentence=full_answer.warning)] if full_answer.warning else []
    rows = [
        t.join((full_answer.headline, *full_answer.lead)),
        *warning,
        *full_answer.more,
        *view_of(subject).lines(subject, t),
    ]
    if full_answer.distrust:
        rows += ["", t("to_keep_in_mind"), *(f"- {sentence}" for sentence in full_answer.distrust)]
    return "\n".join(rows)


# Figures of records; `record.plot()` calls `figure`.


def figure(record: Record, language: str = "en") -> go.Figure:
    """The record's figure, ready to show or to write to a file.

    An `Advice` gives time to target against batch size, a `Speed` seconds per step and per epoch, a `Noise` the noise
    scale along the run, a `Run` its learning curves. A `Study` gives steps to target against batch size with the law
    through them or, if there is no target, accuracy at equal epochs, steps and seconds; before it was analysed, time
    to target or accuracy as measured. A `Fit` gives steps against batch size, a `Scale` time to target against devices.
    A `Curvature` gives the spectrum, a `Sharpness` that of each solution by box, a `Landscape` the line or the plane, a
    `Shift` the rise of the loss, a `CriticalPoint` the gradients of single batches, an
    `Escape` the share of starts that escaped. A `ClaimsReport` gives one row per claim: its verdict, and the effects
    that decide it with their intervals.

    Raises:
        TypeError: if there is no picture of this kind of record, or the record has nothing to draw.
        UserError: if `language` does not exist.
    """
    view = VIEWS.get(type(record))
    picture = view.figure(record, Translator(language)) if view is not None else None
    if picture is None:
        raise TypeError(f"This {type(record).__name__} has nothing to draw.")
    return picture.titled() if isinstance(picture, Picture) else picture
