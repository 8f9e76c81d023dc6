"""Records with something missing, and one in which every text is an attempt to break the page."""

from __future__ import annotations

import math
from dataclasses import replace

import sample_lectures
import sample_loss_records as sample_loss
import sample_records as sample
import sample_scale
import sample_studies
import sample_study_gaps
from critbatch.records.core import Advice, Outcome, Record, SpeedPoint

RECORDS: dict[str, Record] = {
    "advice": sample.advice(),
    "unanswered": sample.unanswered(),
    "speed": sample.speed(),
    "noise": sample.noise(),
    "run": sample.run(64),
    "study": sample.study(seeds=2, evaluations=6),
    **sample_loss.RECORDS,
    **sample_studies.RECORDS,
    **sample_scale.RECORDS,
    **sample_lectures.RECORDS,
}


def hostile() -> Advice:
    """An advice in which every text is an attempt to break the page."""
    text, plain = sample.HOSTILE, sample.advice()
    machine = replace(sample.MACHINE, processor=text, accelerator=text, system=text)
    return replace(
        plain,
        task=text,
        unit=text,
        recipe=text,
        runs=tuple(replace(run, task=text, recipe=text, metric_name=text) for run in plain.runs),
        speed=replace(plain.speed, task=text, unit=text),
        cautions=(text,),
        provenance=replace(plain.provenance, command=text, started=text, machine=machine),
    )


def bare_advice() -> Advice:
    """An advice with as little in it as the record allows."""
    plain = sample.advice()
    unknown = sample.bare(math.inf, "no_run_reached_target")
    point = replace(plain.points[0], seconds=unknown, steps=unknown, learning_rate=sample.bare(0.1))
    silent = replace(plain.speed, points=(SpeedPoint(batch_size=8, fits=False),), fit=None)
    return replace(plain, best=point, current=point, largest=None, points=(point,), law=None, speed=silent, runs=())


MISSING: dict[str, Record] = {
    **sample_loss.MISSING,
    **sample_study_gaps.MISSING,
    **sample_scale.MISSING,
    **sample_lectures.MISSING,
    "bare": bare_advice(),
    "no law, no speed points": replace(sample.advice(), law=None, speed=replace(sample.speed(), points=(), fit=None)),
    "no runs": replace(sample.unanswered(), runs=()),
    "law that does not hold": replace(sample.advice(), law=replace(sample.LAW, holds=False, reason="law_misfit")),
    "no fit": replace(sample.speed(), fit=None),
    "nothing fits": replace(sample.speed(), points=(SpeedPoint(batch_size=1, fits=False),), fit=None),
    "one point": replace(sample.speed(), points=sample.speed().points[:1]),
    "no split, no memory": replace(
        sample.speed(),
        points=tuple(
            replace(p, data_seconds=None, compute_seconds=None, optimizer_seconds=None, peak_bytes=None)
            for p in sample.speed().points
        ),
    ),
    "no noise point": replace(sample.noise(), points=()),
    "only silent noise": replace(sample.noise(), points=sample.noise().points[-1:]),
    "one evaluation": sample.run(64, evaluations=1),
    "no evaluation": replace(sample.run(64), curve=(), outcome=Outcome.OUT_OF_MEMORY, crossing=None),
    "diverged": sample.run(64, 9.0, outcome=Outcome.DIVERGED, steps=5),
    "no target": sample.run(64, target=None, outcome=Outcome.FINISHED),
    "study without target": replace(
        sample.study(seeds=1, evaluations=5),
        question=replace(sample.study(seeds=1, evaluations=5).question, target=None),
        runs=tuple(sample.run(size, target=None, outcome=Outcome.FINISHED, evaluations=5) for size in (8, 64)),
        speed=None,
    ),
    "study that diverged": replace(
        sample.study(seeds=1), runs=(sample.run(64, 9.0, outcome=Outcome.DIVERGED, steps=5),), left=0
    ),
}
