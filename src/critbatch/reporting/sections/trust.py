"""How far to trust the page, and how to get it again."""

from __future__ import annotations

from collections.abc import Sequence

from critbatch.records.core import Advice, Machine, Provenance, Run
from critbatch.records.study import Study
from critbatch.reporting.blocks import Block, Bullets, Facts, Method, Section, Text
from critbatch.reporting.subjects import LossRecord, Single, Subject
from critbatch.reporting.trust import NOT_MEASURED, cautions
from critbatch.reporting.voice import Voice


def trust_section(record: Subject, voice: Voice) -> Section:
    """Weaknesses that were found, and what was not measured."""
    keys = cautions(record)
    weak = tuple(voice.reason(key) for key in keys if key not in NOT_MEASURED)
    absent = tuple(voice.reason(key) for key in keys if key in NOT_MEASURED)
    blocks: list[Block] = [Bullets(weak, voice("trust_weak")) if weak else Text(voice("trust_no_weakness"))]
    if absent:
        blocks.append(Bullets(absent, voice("trust_absent")))
    n = voice("method_n_loss" if isinstance(record, LossRecord) else "method_n")
    blocks.append(Method((voice("method_interval"), n), title=voice("words_interval")))
    return Section("trust", voice("section_trust"), tuple(blocks))


def again_section(record: Subject, voice: Voice) -> Section:
    """Command, versions, machine, seeds."""
    title = voice("section_again")
    if not isinstance(record, Single):
        return Section("again", title, (Text(voice("again_nothing")),))
    made, machine = record.provenance, record.provenance.machine
    facts = Facts((*_facts(made, _runs_of(record), voice), *_machine(machine, voice)), code=made.command)
    text, keys = "again_text", ("word_batch", "word_step", "word_epoch", "word_target", "word_noise")
    if isinstance(record, LossRecord):
        text, keys = "again_loss_text", ("word_batch", "word_step", "word_solution", "word_hessian", "word_saddle")
    words = Method(tuple(voice(key) for key in keys), title=voice("words_used"))
    return Section("again", title, (Text(voice(text)), facts, words))


def _runs_of(record: Single) -> Sequence[Run]:
    return record.runs if isinstance(record, (Advice, Study)) else ()


def _facts(made: Provenance, runs: Sequence[Run], voice: Voice) -> list[tuple[str, str]]:
    pairs = [
        (voice("fact_started"), made.started.replace("T", " ").removesuffix("Z")),
        (voice("fact_took"), voice.seconds(made.wall_seconds)),
        (voice("fact_seed"), str(made.seed)),
    ]
    seeds = sorted({run.seed for run in runs})
    if seeds:
        pairs.append((voice("fact_run_seeds"), ", ".join(str(seed) for seed in seeds)))
    return pairs


def _machine(machine: Machine, voice: Voice) -> list[tuple[str, str]]:
    device = f"{machine.device} ({machine.accelerator})" if machine.accelerator else machine.device
    return [
        (voice("fact_processor"), machine.processor),
        (voice("fact_cores"), voice("cores_and_threads", cores=machine.cores, threads=machine.threads)),
        (voice("fact_memory"), voice.bytes(machine.memory_bytes)),
        (voice("fact_device"), device),
        (voice("fact_system"), machine.system),
        ("Python", machine.python),
        ("PyTorch", machine.torch),
        ("critbatch", machine.critbatch),
    ]
