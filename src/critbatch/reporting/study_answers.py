"""The answer of a study that was analysed, and that of runs made elsewhere."""

from __future__ import annotations

from critbatch.records.study import Fit, Regime, Study
from critbatch.reporting.blocks import Answer
from critbatch.reporting.claims import claim, compared
from critbatch.reporting.findings import Findings, findings
from critbatch.reporting.readings import metric_name
from critbatch.reporting.sections.rate_law import rate_law_said
from critbatch.reporting.voice import Voice


def study_answer(study: Study, found: Findings, voice: Voice) -> Answer | None:
    """Which size is soonest, and where more batch stops saving steps. None where a target was not reached."""
    asked, runs, best = study.question, study.runs, found.soonest
    done = voice("study_done", n=voice.count(len(runs)), total=voice.count(len(runs) + study.left))
    claims = [voice(f"claim_{claim(found.analysis.budgets)}")] if compared(found.analysis.budgets) else []
    if asked.target is None:
        sizes = len({run.batch_size for run in runs})
        headline = voice("study_claims_headline", task=asked.task, n=len(runs), sizes=sizes)
        return Answer(headline, tuple(claims), (*_rates(found, voice), done))
    if best is None or best.learning_rate is None:
        return None
    headline = voice(
        "study_headline",
        task=asked.task,
        batch_size=voice.count(best.batch_size),
        rate=voice.rate(best.learning_rate),
        recipe=asked.recipe,
    )
    target = voice.target(asked.target, metric_name(runs))
    time = best.seconds
    lead = [voice("study_time_at_best", target=target, seconds=voice.estimate(time, voice.seconds))] if time else []
    more = [*law_said(found, voice), *_rates(found, voice), *claims, done]
    return Answer(headline, (*lead, *regimes_said(found, voice)), tuple(more))


def fit_answer(fit: Fit, voice: Voice) -> Answer:
    """Whether the points follow the law, and with which critical batch size."""
    found = findings(fit)
    assert found is not None
    critical = voice.about(found.critical_size) if found.critical_size is not None else _bound(found, voice)
    key = found.law_state if found.trade_off is not None else "none"
    if not critical and key != "fails":
        key = "none" if found.trade_off is None and found.law_reason != "constant_budget" else "unread"
    at = {"name": fit.name, "critical": critical}
    reached = len(found.reached) + found.left_out_reached
    told = voice("fit_points", n=len(fit.points), sizes=len(found.sizes) + found.left_out, reached=reached)
    best = found.soonest
    time = best.seconds if best is not None else None
    more = [told, *([] if key == "none" else law_said(found, voice)), *_rates(found, voice)]
    if best is not None and time is not None:
        seconds = voice.estimate(time, voice.seconds)
        more.append(voice("fit_soonest", batch_size=voice.count(best.batch_size), seconds=seconds))
    return Answer(voice(f"fit_headline_{key}", **at), tuple(regimes_said(found, voice)), tuple(more))


def law_said(found: Findings, voice: Voice) -> list[str]:
    """Whether the law holds, with the critical batch size; nothing where that is not known at all."""
    if found.trade_off is None:
        return [voice.reason(found.law_reason)] if found.law_reason else [voice("law_said_missing")]
    # The reason is among what is to be kept in mind.
    critical = voice.bounded(found.trade_off.critical_batch_size, voice.about)
    return [voice(f"law_said_{found.law_state}", critical=critical) if critical else voice("law_said_unbounded")]


def regimes_said(found: Findings, voice: Voice) -> list[str]:
    """Up to where twice the batch takes half the steps, and from where a larger one saves none."""
    if not found.bands or found.in_epochs:
        return []
    perfect, useful = found.analysis.perfect_until, found.analysis.useful_until
    largest = voice.count(found.reached[-1][0].batch_size)
    late = "_late" if perfect is None else ""
    sizes = {"perfect": voice.count(perfect) if perfect is not None else "", "largest": largest}
    if all(regime is Regime.PERFECT_SCALING for regime, _ in found.bands):
        return [voice("regimes_perfect", **sizes)] if len(found.reached) > 1 else []
    if all(regime is Regime.MAXIMAL_PARALLELISM for regime, _ in found.bands):
        return [voice("regimes_flat")] if len(found.reached) > 1 else []
    if found.still_falling or useful is None:
        return [voice(f"regimes_open{late}", **sizes)]
    return [voice(f"regimes_three{late}", useful=voice.count(useful), **sizes)]


def _rates(found: Findings, voice: Voice) -> list[str]:
    law = found.analysis.rate_law
    return rate_law_said(law, voice) if law is not None else []


def _bound(found: Findings, voice: Voice) -> str:
    return voice.bounded(found.critical, voice.about) if found.critical is not None else ""
