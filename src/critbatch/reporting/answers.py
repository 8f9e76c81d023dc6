"""The answer that a record gives, in sentences: for the terminal, and for the head of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Noise, Outcome, Quantity, Run, Speed, Target, TimePoint
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reporting.advice_answers import asked_sentences, cost_sentences, help_sentences
from critbatch.reporting.blocks import Answer
from critbatch.reporting.clock_answers import clock_warning, speeds_of
from critbatch.reporting.findings import findings
from critbatch.reporting.lecture_answers import lecture_answer
from critbatch.reporting.loss_answers import loss_answer
from critbatch.reporting.readings import closest, metric_name, soonest_settings, timed
from critbatch.reporting.scale_answers import scale_answer
from critbatch.reporting.study_answers import fit_answer, study_answer
from critbatch.reporting.subjects import LossRecord, Subject
from critbatch.reporting.trust import NOT_MEASURED, cautions
from critbatch.reporting.voice import Voice


def answer(record: Subject, voice: Voice) -> Answer:
    """What the record says; several runs of one task count as one record."""
    if isinstance(record, Advice):
        told = _advice(record, voice) if record.answered and record.best is not None else _unanswered(record, voice)
    elif isinstance(record, Speed):
        told = _speed(record, voice)
    elif isinstance(record, Noise):
        told = _noise(record, voice)
    elif isinstance(record, Study):
        found = findings(record)
        analysed = study_answer(record, found, voice) if found is not None else None
        told = analysed or _study(record, voice)
    elif isinstance(record, Fit):
        told = fit_answer(record, voice)
    elif isinstance(record, Scale):
        told = scale_answer(record, voice)
    elif isinstance(record, LossRecord):
        told = loss_answer(record, voice)
    elif isinstance(record, Lecture):
        told = lecture_answer(record, voice)
    else:
        told = _run(record[0], voice) if len(record) == 1 else _runs(record, voice)
    own = set(record.cautions) if isinstance(record, (Advice, Scale)) else set()
    keys = [key for key in cautions(record) if key in own or key not in NOT_MEASURED]
    return Answer(
        told.headline,
        told.lead,
        told.more,
        tuple(voice.reason(key) for key in keys),
        clock_warning(speeds_of(record), voice),
    )


def _advice(advice: Advice, voice: Voice) -> Answer:
    best = advice.best
    assert best is not None
    headline = voice(
        "advice_headline",
        task=advice.task,
        batch_size=voice.count(best.batch_size),
        rate=voice.rate(best.learning_rate.value),
        recipe=advice.recipe,
    )
    target = voice.target(advice.target, metric_name(advice.runs))
    lead = [voice("advice_time", target=target, seconds=voice.estimate(best.seconds, voice.seconds))]
    if advice.within_ten_percent is not None:
        low, high = advice.within_ten_percent
        busy = advice.speed.check is not None and advice.speed.check.is_busy
        key = "advice_near_alone" if low == high else "advice_near_busy" if busy else "advice_near"
        lead.append(voice(key, low=voice.count(low), high=voice.count(high)))
    more = [
        _compared(point, best, key, voice)
        for key, point in (("current", advice.current), ("largest", advice.largest))
        if point is not None
    ]
    share = math.ceil(best.batch_size / advice.devices)
    if advice.micro_batch_size is not None and advice.micro_batch_size < share:
        pieces = math.ceil(share / advice.micro_batch_size)
        more.append(voice("advice_micro", micro=voice.count(advice.micro_batch_size), pieces=voice.count(pieces)))
    more += asked_sentences(advice, voice)
    more.append(voice("advice_cost", n=len(advice.runs), wall=voice.seconds(advice.provenance.wall_seconds)))
    more += cost_sentences(advice, voice)
    return Answer(headline, tuple(lead), tuple(more))


def _compared(point: TimePoint, best: TimePoint, key: str, voice: Voice) -> str:
    size = voice.count(point.batch_size)
    if point.batch_size == best.batch_size:
        return voice(f"advice_{key}_is_best", batch_size=size)
    if not math.isfinite(point.seconds.value):
        return voice(f"advice_{key}_never", batch_size=size)
    times = voice.times(point.seconds.value / best.seconds.value)
    return voice(f"advice_{key}", batch_size=size, seconds=voice.estimate(point.seconds, voice.seconds), times=times)


def _unanswered(advice: Advice, voice: Voice) -> Answer:
    headline = voice("unanswered_headline", task=advice.task)
    target = voice.target(advice.target, metric_name(advice.runs))
    reached = sum(run.crossing is not None for run in advice.runs)
    if "clock_unusable" in advice.cautions and advice.speed.check is not None:
        swing = voice.about(advice.speed.check.swing)
        return Answer(headline, (voice("unanswered_clock", swing=swing),), (voice("unanswered_clock_help"),))
    if not advice.runs:
        lead = [voice("unanswered_no_run")]
    elif reached:
        lead = [voice("unanswered_some", n=reached, runs=len(advice.runs), target=target)]
    else:
        lead = [voice("unanswered_runs", n=len(advice.runs), target=target)]
    return Answer(headline, (*lead, *_closest(advice.runs, advice.target, voice)), tuple(help_sentences(advice, voice)))


def _closest(runs: Sequence[Run], target: Target | None, voice: Voice) -> list[str]:
    seen = closest(runs, target)
    if seen is None:
        return []
    run, point = seen
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS
    value = Target(
        quantity=Quantity.VALIDATION_LOSS if by_loss else Quantity.VALIDATION_METRIC,
        value=point.validation_loss if by_loss else point.validation_metric,
    )
    at = {"batch_size": voice.count(run.batch_size), "rate": voice.rate(run.learning_rate)}
    return [voice("closest_run", value=voice.target(value, run.metric_name), **at)]


def _speed(speed: Speed, voice: Voice) -> Answer:
    points = timed(speed)
    lost = [point.batch_size for point in speed.points if not point.fits]
    if not points:
        return Answer(voice("speed_nothing", task=speed.task), (voice("speed_nothing_help"),))
    first, last = points[0], points[-1]
    knee = speed.fit.knee.value if speed.fit is not None else math.nan
    if math.isnan(knee) or len(points) < 2:
        headline = voice("speed_headline", task=speed.task, n=len(points))
    elif knee <= first.batch_size:
        headline = voice("speed_grows", task=speed.task, batch_size=voice.count(first.batch_size))
    elif knee >= last.batch_size:
        headline = voice("speed_flat", task=speed.task, batch_size=voice.count(last.batch_size))
    else:
        headline = voice("speed_knee", task=speed.task, knee=voice.about(knee))
    lead = voice(
        "speed_epoch",
        low=voice.count(first.batch_size),
        first=voice.seconds(speed.epoch_seconds(first)),
        high=voice.count(last.batch_size),
        last=voice.seconds(speed.epoch_seconds(last)),
    )
    largest = voice.count(speed.largest_that_fits)
    fits = [voice("speed_fits", lost=voice.count(min(lost)), largest=largest)] if lost else []
    return Answer(headline, (lead,), tuple(fits))


def _noise(noise: Noise, voice: Voice) -> Answer:
    told = [point for point in noise.points if math.isfinite(point.scale.examples) and point.scale.examples > 0]
    if not told:
        return Answer(voice("noise_nothing", task=noise.task), (voice("noise_nothing_help"),))
    first, last = told[0], told[-1]
    scale = voice.noise(last.scale)
    headline = voice(
        "noise_headline", task=noise.task, noise=voice.about(last.scale.examples), unit=voice.units(noise.unit)
    )
    at = {"scale": scale, "steps": voice.count(last.step), "batch_size": voice.count(noise.batch_size)}
    more = [voice("noise_meaning")]
    if len(told) > 1:
        more.insert(0, voice("noise_start", first=voice.about(first.scale.examples), steps=voice.count(first.step)))
    if noise.tokens_per_example > 1:
        more.append(voice("noise_tokens", tokens=voice.about(last.scale.examples * noise.tokens_per_example)))
    return Answer(headline, (voice("noise_lead", **at),), tuple(more))


def _study(study: Study, voice: Voice) -> Answer:
    asked, runs = study.question, study.runs
    total = len(runs) + study.left
    best = soonest_settings(runs)
    done = voice("study_done", n=len(runs), total=voice.count(total))
    if asked.target is None:
        seen = _closest(runs, None, voice)
        return Answer(voice("study_no_target", task=asked.task, n=len(runs)), (*seen, done))
    target = voice.target(asked.target, metric_name(runs))
    if not best:
        headline = voice("study_none_reached", task=asked.task, target=target)
        return Answer(headline, (*_closest(runs, asked.target, voice), done))
    soonest = min(best, key=lambda setting: median(setting.seconds))
    headline = voice(
        "study_headline",
        task=asked.task,
        batch_size=voice.count(soonest.batch_size),
        rate=voice.rate(soonest.learning_rate),
        recipe=asked.recipe,
    )
    seconds = soonest.seconds
    span = voice.span(seconds[0], seconds[-1], voice.seconds)
    lead = voice("study_time", n=len(seconds), target=target, seconds=voice.seconds(median(seconds)), span=span)
    return Answer(headline, (lead, done))


def _run(run: Run, voice: Voice) -> Answer:
    end = run.crossing
    at = {
        "task": run.task,
        "batch_size": voice.count(run.batch_size),
        "rate": voice.rate(run.learning_rate),
        "steps": voice.about(end.step if end else run.diverged_at or run.steps),
        "epochs": voice.about(end.epoch if end else run.epochs),
        "seconds": voice.seconds(end.seconds if end else run.seconds),
        "target": voice.target(run.target, run.metric_name) if run.target is not None else "",
    }
    key = "finished_without_target" if run.outcome is Outcome.FINISHED and run.target is None else str(run.outcome)
    key = "stopped_early" if run.stopped_early else key
    missed = [] if run.outcome is Outcome.REACHED else _closest([run], run.target, voice)
    lead = voice("run_setting", recipe=run.recipe, seed=run.seed, **at)
    return Answer(voice(f"run_{key}", **at), (lead, *missed))


def _runs(runs: Sequence[Run], voice: Voice) -> Answer:
    reached = [run for run in runs if run.crossing is not None]
    task = runs[0].task
    if not reached:
        target = next((run.target for run in runs if run.target is not None), None)
        return Answer(voice("runs_headline", task=task, n=len(runs)), tuple(_closest(runs, target, voice)))
    soonest = min(reached, key=lambda run: run.crossing.seconds if run.crossing else math.inf)
    assert soonest.crossing is not None
    headline = voice("runs_reached", task=task, n=len(runs), reached=len(reached))
    at = {"batch_size": voice.count(soonest.batch_size), "rate": voice.rate(soonest.learning_rate)}
    return Answer(headline, (voice("runs_soonest", seconds=voice.seconds(soonest.crossing.seconds), **at),))
