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
from critbatch.reports.translator import Translator


def answer(record: Subject, t: Translator) -> Answer:
    """What the record says; several runs of one task count as one record."""
    if isinstance(record, Advice):
        told = _advice(record, t) if record.answered and record.best is not None else _unanswered(record, t)
    elif isinstance(record, Speed):
        told = _speed(record, t)
    elif isinstance(record, Noise):
        told = _noise(record, t)
    elif isinstance(record, Study):
        found = findings(record)
        analysed = study_answer(record, found, t) if found is not None else None
        told = analysed or _study(record, t)
    elif isinstance(record, Fit):
        told = fit_answer(record, t)
    elif isinstance(record, Scale):
        told = scale_answer(record, t)
    elif isinstance(record, LossRecord):
        told = loss_answer(record, t)
    elif isinstance(record, Lecture):
        told = lecture_answer(record, t)
    else:
        told = _run(record[0], t) if len(record) == 1 else _runs(record, t)
    own = set(record.cautions) if isinstance(record, (Advice, Scale)) else set()
    keys = [key for key in cautions(record) if key in own or key not in NOT_MEASURED]
    return Answer(
        told.headline,
        told.lead,
        told.more,
        tuple(t.reason(key) for key in keys),
        clock_warning(speeds_of(record), t),
    )


def _advice(advice: Advice, t: Translator) -> Answer:
    best = advice.best
    assert best is not None
    headline = t(
        "advice_headline",
        task=advice.task,
        batch_size=t.count(best.batch_size),
        rate=t.rate(best.learning_rate.value),
        recipe=advice.recipe,
    )
    target = t.target(advice.target, metric_name(advice.runs))
    lead = [t("advice_time", target=target, seconds=t.estimate(best.seconds, t.seconds))]
    if advice.within_ten_percent is not None:
        low, high = advice.within_ten_percent
        busy = advice.speed.check is not None and advice.speed.check.is_busy
        key = "advice_near_alone" if low == high else "advice_near_busy" if busy else "advice_near"
        lead.append(t(key, low=t.count(low), high=t.count(high)))
    more = [
        _compared(point, best, key, t)
        for key, point in (("current", advice.current), ("largest", advice.largest))
        if point is not None
    ]
    share = math.ceil(best.batch_size / advice.devices)
    if advice.micro_batch_size is not None and advice.micro_batch_size < share:
        pieces = math.ceil(share / advice.micro_batch_size)
        more.append(t("advice_micro", micro=t.count(advice.micro_batch_size), pieces=t.count(pieces)))
    more += asked_sentences(advice, t)
    more.append(t("advice_cost", n=len(advice.runs), wall=t.seconds(advice.provenance.wall_seconds)))
    more += cost_sentences(advice, t)
    return Answer(headline, tuple(lead), tuple(more))


def _compared(point: TimePoint, best: TimePoint, key: str, t: Translator) -> str:
    size = t.count(point.batch_size)
    if point.batch_size == best.batch_size:
        return t(f"advice_{key}_is_best", batch_size=size)
    if not math.isfinite(point.seconds.value):
        return t(f"advice_{key}_never", batch_size=size)
    times = t.times(point.seconds.value / best.seconds.value)
    return t(f"advice_{key}", batch_size=size, seconds=t.estimate(point.seconds, t.seconds), times=times)


def _unanswered(advice: Advice, t: Translator) -> Answer:
    headline = t("unanswered_headline", task=advice.task)
    target = t.target(advice.target, metric_name(advice.runs))
    reached = sum(run.crossing is not None for run in advice.runs)
    if "clock_unusable" in advice.cautions and advice.speed.check is not None:
        swing = t.about(advice.speed.check.swing)
        return Answer(headline, (t("unanswered_clock", swing=swing),), (t("unanswered_clock_help"),))
    if not advice.runs:
        lead = [t("unanswered_no_run")]
    elif reached:
        lead = [t("unanswered_some", n=reached, runs=len(advice.runs), target=target)]
    else:
        lead = [t("unanswered_runs", n=len(advice.runs), target=target)]
    return Answer(headline, (*lead, *_closest(advice.runs, advice.target, t)), tuple(help_sentences(advice, t)))


def _closest(runs: Sequence[Run], target: Target | None, t: Translator) -> list[str]:
    seen = closest(runs, target)
    if seen is None:
        return []
    run, point = seen
    by_loss = target is not None and target.quantity is Quantity.VALIDATION_LOSS
    value = Target(
        quantity=Quantity.VALIDATION_LOSS if by_loss else Quantity.VALIDATION_METRIC,
        value=point.validation_loss if by_loss else point.validation_metric,
    )
    at = {"batch_size": t.count(run.batch_size), "rate": t.rate(run.learning_rate)}
    return [t("closest_run", value=t.target(value, run.metric_name), **at)]


def _speed(speed: Speed, t: Translator) -> Answer:
    points = timed(speed)
    lost = [point.batch_size for point in speed.points if not point.fits]
    if not points:
        return Answer(t("speed_nothing", task=speed.task), (t("speed_nothing_help"),))
    first, last = points[0], points[-1]
    knee = speed.fit.knee.value if speed.fit is not None else math.nan
    if math.isnan(knee) or len(points) < 2:
        headline = t("speed_headline", task=speed.task, n=len(points))
    elif knee <= first.batch_size:
        headline = t("speed_grows", task=speed.task, batch_size=t.count(first.batch_size))
    elif knee >= last.batch_size:
        headline = t("speed_flat", task=speed.task, batch_size=t.count(last.batch_size))
    else:
        headline = t("speed_knee", task=speed.task, knee=t.about(knee))
    lead = t(
        "speed_epoch",
        low=t.count(first.batch_size),
        first=t.seconds(speed.epoch_seconds(first)),
        high=t.count(last.batch_size),
        last=t.seconds(speed.epoch_seconds(last)),
    )
    largest = t.count(speed.largest_that_fits)
    fits = [t("speed_fits", lost=t.count(min(lost)), largest=largest)] if lost else []
    return Answer(headline, (lead,), tuple(fits))


def _noise(noise: Noise, t: Translator) -> Answer:
    told = [point for point in noise.points if math.isfinite(point.scale.examples) and point.scale.examples > 0]
    if not told:
        return Answer(t("noise_nothing", task=noise.task), (t("noise_nothing_help"),))
    first, last = told[0], told[-1]
    scale = t.noise(last.scale)
    headline = t("noise_headline", task=noise.task, noise=t.about(last.scale.examples), unit=t.units(noise.unit))
    at = {"scale": scale, "steps": t.count(last.step), "batch_size": t.count(noise.batch_size)}
    more = [t("noise_meaning")]
    if len(told) > 1:
        more.insert(0, t("noise_start", first=t.about(first.scale.examples), steps=t.count(first.step)))
    if noise.tokens_per_example > 1:
        more.append(t("noise_tokens", tokens=t.about(last.scale.examples * noise.tokens_per_example)))
    return Answer(headline, (t("noise_lead", **at),), tuple(more))


def _study(study: Study, t: Translator) -> Answer:
    asked, runs = study.question, study.runs
    total = len(runs) + study.left
    best = soonest_settings(runs)
    done = t("study_done", n=len(runs), total=t.count(total))
    if asked.target is None:
        seen = _closest(runs, None, t)
        return Answer(t("study_no_target", task=asked.task, n=len(runs)), (*seen, done))
    target = t.target(asked.target, metric_name(runs))
    if not best:
        headline = t("study_none_reached", task=asked.task, target=target)
        return Answer(headline, (*_closest(runs, asked.target, t), done))
    soonest = min(best, key=lambda setting: median(setting.seconds))
    headline = t(
        "study_headline",
        task=asked.task,
        batch_size=t.count(soonest.batch_size),
        rate=t.rate(soonest.learning_rate),
        recipe=asked.recipe,
    )
    seconds = soonest.seconds
    span = t.span(seconds[0], seconds[-1], t.seconds)
    lead = t("study_time", n=len(seconds), target=target, seconds=t.seconds(median(seconds)), span=span)
    return Answer(headline, (lead, done))


def _run(run: Run, t: Translator) -> Answer:
    end = run.crossing
    at = {
        "task": run.task,
        "batch_size": t.count(run.batch_size),
        "rate": t.rate(run.learning_rate),
        "steps": t.about(end.step if end else run.diverged_at or run.steps),
        "epochs": t.about(end.epoch if end else run.epochs),
        "seconds": t.seconds(end.seconds if end else run.seconds),
        "target": t.target(run.target, run.metric_name) if run.target is not None else "",
    }
    key = "finished_without_target" if run.outcome is Outcome.FINISHED and run.target is None else str(run.outcome)
    key = "stopped_early" if run.stopped_early else key
    missed = [] if run.outcome is Outcome.REACHED else _closest([run], run.target, t)
    lead = t("run_setting", recipe=run.recipe, seed=run.seed, **at)
    return Answer(t(f"run_{key}", **at), (lead, *missed))


def _runs(runs: Sequence[Run], t: Translator) -> Answer:
    reached = [run for run in runs if run.crossing is not None]
    task = runs[0].task
    if not reached:
        target = next((run.target for run in runs if run.target is not None), None)
        return Answer(t("runs_headline", task=task, n=len(runs)), tuple(_closest(runs, target, t)))
    soonest = min(reached, key=lambda run: run.crossing.seconds if run.crossing else math.inf)
    assert soonest.crossing is not None
    headline = t("runs_reached", task=task, n=len(runs), reached=len(reached))
    at = {"batch_size": t.count(soonest.batch_size), "rate": t.rate(soonest.learning_rate)}
    return Answer(headline, (t("runs_soonest", seconds=t.seconds(soonest.crossing.seconds), **at),))
