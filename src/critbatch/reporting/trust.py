"""What to keep in mind with a record: its own cautions, and those that its numbers give away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from critbatch.records.claims import Lecture
from critbatch.records.core import Advice, Estimate, Noise, Outcome, Run, Speed, TimePoint
from critbatch.records.scaling import Scale
from critbatch.records.study import Fit, Study
from critbatch.reporting.claims import compared
from critbatch.reporting.findings import Findings, findings
from critbatch.reporting.lecture_answers import lecture_cautions
from critbatch.reporting.loss_trust import loss_cautions
from critbatch.reporting.readings import soonest_settings
from critbatch.reporting.subjects import LossRecord, Subject

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
