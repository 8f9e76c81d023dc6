"""One chapter a record: its answer, the numbers to remember, the picture, the sections, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.errors import UserError
from critbatch.records.core import Machine, Provenance, Record, Run
from critbatch.reports.model import Answer, Block, Bullets, Chapter, Facts, Method, Section, Text
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import Subject, view_of
from critbatch.reports.views.speed import clock_warning

# Said apart from weaknesses: nothing is wrong with the numbers, they are about something else.
NOT_MEASURED = ("generalization_not_measured", "no_noise_measured", "one_machine", "one_task")


def subjects(records: Sequence[Record]) -> list[Subject]:
    """The records as chapters, in their order; runs of one task together.

    Raises:
        UserError: if there is none, or one of which no chapter can be provenance.
    """
    if not records:
        raise UserError("There is no record to report: make one with `critbatch advise TASK`.")
    chapters: list[Subject] = []
    told_elsewhere = [part for record in records if not isinstance(record, Run) for part in _parts_told(record)]
    runs: dict[str, list[Run]] = {}
    for record in records:
        if isinstance(record, Run):
            if record.task not in runs:
                runs[record.task] = []
                chapters.append(runs[record.task])
            runs[record.task].append(record)
        elif not any(_same(record, part) for part in told_elsewhere):
            view_of(record).check(record)
            chapters.append(record)
    return chapters


def _parts_told(record: Record) -> Sequence[Record | None]:
    return view_of(record).parts_told(record)


def _same(record: Record, other: Record | None) -> bool:
    """By their JSON, since a loss that is no number is not equal to itself."""
    return type(record) is type(other) and other is not None and record.to_json() == other.to_json()


def cautions(subject: Subject) -> list[str]:
    """Keys of messages, each once, the record's own first."""
    return [key for key in dict.fromkeys(view_of(subject).cautions(subject)) if key]


def answer(subject: Subject, t: Translator) -> Answer:
    """What the record says, for the terminal and for the head of the page; several runs of one task count as one."""
    view = view_of(subject)
    own, said = view.own_cautions(subject), view.answer(subject, t)
    keys = [key for key in cautions(subject) if key in own or key not in NOT_MEASURED]
    warning = clock_warning(view.speeds(subject), t)
    return Answer(said.headline, said.lead, said.more, tuple(t.reason(key) for key in keys), warning)


def chapter(subject: Subject, t: Translator) -> Chapter:
    """All that the page says of a record; several runs of one task are one chapter."""
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
