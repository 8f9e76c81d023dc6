"""The answer that a record gives, in sentences: for the terminal, and for the head of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Estimate, Noise, Outcome, Quantity, Run, Speed, Target, TimePoint
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reports.derived.claims import lecture_answer, lecture_cautions
from critbatch.reports.derived.loss_surface import LossRecord, Subject
from critbatch.reports.derived.runs import closest, metric_name, soonest_settings, timed
from critbatch.reports.derived.study import Findings, compared, findings
from critbatch.reports.model import Answer
from critbatch.reports.translator import Translator
from critbatch.reports.views.advice import asked_sentences, cost_sentences, help_sentences
from critbatch.reports.views.curvature import loss_cautions
from critbatch.reports.views.scaling import scale_answer
from critbatch.reports.views.sharpness import loss_answer
from critbatch.reports.views.speed import clock_warning, speeds_of
from critbatch.reports.views.study import fit_answer, study_answer

# What to keep in mind with a record: its own cautions, and those that its numbers give away.

# A straight line that misses a step's seconds by more is no picture of them.
AFFINE_MISS = 0.25

# Said apart from weaknesses: nothing is wrong with the numbers, they are about something else.
NOT_MEASURED = ("generalization_not_measured", "no_noise_measured", "one_machine", "one_task")

# What says nothing of runs that had no target.
ABOUT_TARGET = {"no_run_reached_target", "few_sizes", "censored_sizes", "coarse_evaluations", "target_met_at_start"}


def cautions(record: Subject) -> list[str]:
    """Keys of `words.py`, each once, the record's own first."""
    if isinstance(record, Advice):
        found = _of_advice(record)
    elif isinstance(record, Speed):
        found = [*_of_speed(record), "one_machine"]
    elif isinstance(record, Noise):
        found = _of_noise(record)
    elif isinstance(record, Study):
        analysed = findings(record)
        found = _of_study(record) if analysed is None else _of_analysed(record, analysed)
    elif isinstance(record, Fit):
        analysed = findings(record)
        found = _of_findings(analysed) if analysed is not None else []
    elif isinstance(record, Scale):
        found = [*record.cautions, *_of_speed(record.speed), "generalization_not_measured", "one_machine"]
    elif isinstance(record, LossRecord):
        found = loss_cautions(record)
    elif isinstance(record, Lecture):
        found = lecture_cautions(record)
    else:
        found = _of_runs(record)
    return [key for key in dict.fromkeys(found) if key]


def _of_advice(advice: Advice) -> list[str]:
    found = [*advice.cautions]
    if advice.law is not None and not advice.law.holds:
        found.append(advice.law.reason or "law_misfit")
    if advice.best is not None:
        found += _reasons(advice.best)
    found += _of_speed(advice.speed)
    # Also at the end of the runs, not at the target alone.
    found += [] if advice.accuracy else ["generalization_not_measured"]
    return [*found, "one_machine", *([] if any(run.noise for run in advice.runs) else ["no_noise_measured"])]


def _of_noise(noise: Noise) -> list[str]:
    scales = [scale for p in noise.points for scale in (p.scale, p.in_metric, p.by_curvature) if scale is not None]
    return [scale.reason for scale in scales] + (["noise_not_best_size"] if scales else [])


def _of_speed(speed: Speed) -> list[str]:
    found = [*speed.check.signs] if speed.check is not None else []
    found += ["out_of_memory"] if any(not point.fits for point in speed.points) else []
    if speed.fit is not None and speed.fit.worst_miss > AFFINE_MISS:
        found.append("time_not_affine")
    return found + _without_interval(point.step_seconds for point in speed.fitting)


def _of_study(study: Study) -> list[str]:
    found = ["runs_left"] if study.left else []
    found += _of_runs(study.runs)
    best = soonest_settings(study.runs)
    if best:
        soonest = min(best, key=lambda setting: median(setting.seconds))
        sizes = [run.batch_size for run in study.runs]
        rates = [run.learning_rate for run in study.runs if run.batch_size == soonest.batch_size]
        if soonest.batch_size in (min(sizes), max(sizes)):
            found.append("best_at_edge")
        if soonest.learning_rate in (min(rates), max(rates)):
            found.append("rate_at_edge")
    if not any(run.noise for run in study.runs):
        found.append("no_noise_measured")
    return [*found, "generalization_not_measured", "one_machine"]


def _of_analysed(study: Study, found: Findings) -> list[str]:
    keys = ["runs_left"] if study.left else []
    told = _of_findings(found)
    keys += [
        *(told if study.question.target is not None else (key for key in told if key not in ABOUT_TARGET)),
        *_of_runs(study.runs),
    ]
    best = found.soonest
    if best is not None and study.question.target is not None:
        sizes = [size.batch_size for size in found.sizes]
        if best.batch_size in (min(sizes), max(sizes)):
            keys.append("best_at_edge")
        if best.at_edge:
            keys.append("rate_at_edge")
    if not compared(found.analysis.budgets):
        keys.append("generalization_not_measured")
    return [*keys, "one_machine"]


def _of_findings(found: Findings) -> list[str]:
    keys = [*found.analysis.cautions]
    if not found.law_holds or found.law_reason:
        keys.append(found.law_reason)
    best = found.soonest
    return [*keys, *_without_interval((best.steps, best.seconds))] if best is not None else keys


def _of_runs(runs: Sequence[Run]) -> list[str]:
    found = ["one_seed"] if len({run.seed for run in runs}) == 1 else []
    outcomes = {run.outcome for run in runs}
    if outcomes == {Outcome.DIVERGED}:
        return [*found, "all_diverged"]
    if any(run.target for run in runs) and Outcome.REACHED not in outcomes:
        found.append("no_run_reached_target")
    if Outcome.DIVERGED in outcomes:
        found.append("some_diverged")
    return [*found, "out_of_memory"] if Outcome.OUT_OF_MEMORY in outcomes else found


def _reasons(point: TimePoint) -> list[str]:
    return _without_interval((point.seconds, point.steps, point.step_seconds, point.learning_rate))


def _without_interval(estimates: Iterable[Estimate | None]) -> list[str]:
    return [estimate.reason for estimate in estimates if estimate is not None and estimate.reason]


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
