"""How far to trust the page, and how to get it again."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.records.core import Advice, Machine, Provenance, Run
from critbatch.records.study import Study
from critbatch.reporting.blocks import Block, Bullets, Facts, Method, Section, Text
from critbatch.reporting.subjects import LossRecord, Single, Subject
from critbatch.reporting.trust import NOT_MEASURED, cautions
from critbatch.reports.translator import Translator


def trust_section(record: Subject, t: Translator) -> Section:
    """Weaknesses that were found, and what was not measured."""
    keys = cautions(record)
    weak = tuple(t.reason(key) for key in keys if key not in NOT_MEASURED)
    absent = tuple(t.reason(key) for key in keys if key in NOT_MEASURED)
    blocks: list[Block] = [Bullets(weak, t("trust_weak")) if weak else Text(t("trust_no_weakness"))]
    if absent:
        blocks.append(Bullets(absent, t("trust_absent")))
    n = t("method_n_loss" if isinstance(record, LossRecord) else "method_n")
    blocks.append(Method((t("method_interval"), n), title=t("words_interval")))
    return Section("trust", t("section_trust"), tuple(blocks))


def again_section(record: Subject, t: Translator) -> Section:
    """Command, versions, machine, seeds."""
    title = t("section_again")
    if not isinstance(record, Single):
        return Section("again", title, (Text(t("again_nothing")),))
    made, machine = record.provenance, record.provenance.machine
    facts = Facts((*_facts(made, _runs_of(record), t), *_machine(machine, t)), code=made.command)
    text, keys = "again_text", ("word_batch", "word_step", "word_epoch", "word_target", "word_noise")
    if isinstance(record, LossRecord):
        text, keys = "again_loss_text", ("word_batch", "word_step", "word_solution", "word_hessian", "word_saddle")
    words = Method(tuple(t(key) for key in keys), title=t("words_used"))
    return Section("again", title, (Text(t(text)), facts, words))


def _runs_of(record: Single) -> Sequence[Run]:
    return record.runs if isinstance(record, (Advice, Study)) else ()


def _facts(made: Provenance, runs: Sequence[Run], t: Translator) -> list[tuple[str, str]]:
    pairs = [
        (t("fact_started"), made.started.replace("T", " ").removesuffix("Z")),
        (t("fact_took"), t.seconds(made.wall_seconds)),
        (t("fact_seed"), str(made.seed)),
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
