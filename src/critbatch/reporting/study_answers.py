"""The answer of a study that was analysed, and that of runs made elsewhere."""

from __future__ import annotations

from critbatch.records.study import Fit, Regime, Study
from critbatch.reporting.blocks import Answer
from critbatch.reporting.claims import claim, compared
from critbatch.reporting.findings import Findings, findings
from critbatch.reporting.readings import metric_name
from critbatch.reporting.sections.rate_law import rate_law_said
from critbatch.reports.translator import Translator


def study_answer(study: Study, found: Findings, t: Translator) -> Answer | None:
    """Which size is soonest, and where more batch stops saving steps. None where a target was not reached."""
    asked, runs, best = study.question, study.runs, found.soonest
    done = t("study_done", n=t.count(len(runs)), total=t.count(len(runs) + study.left))
    claims = [t(f"claim_{claim(found.analysis.budgets)}")] if compared(found.analysis.budgets) else []
    if asked.target is None:
        sizes = len({run.batch_size for run in runs})
        headline = t("study_claims_headline", task=asked.task, n=len(runs), sizes=sizes)
        return Answer(headline, tuple(claims), (*_rates(found, t), done))
    if best is None or best.learning_rate is None:
        return None
    headline = t(
        "study_headline",
        task=asked.task,
        batch_size=t.count(best.batch_size),
        rate=t.rate(best.learning_rate),
        recipe=asked.recipe,
    )
    target = t.target(asked.target, metric_name(runs))
    time = best.seconds
    lead = [t("study_time_at_best", target=target, seconds=t.estimate(time, t.seconds))] if time else []
    more = [*law_said(found, t), *_rates(found, t), *claims, done]
    return Answer(headline, (*lead, *regimes_said(found, t)), tuple(more))


def fit_answer(fit: Fit, t: Translator) -> Answer:
    """Whether the points follow the law, and with which critical batch size."""
    found = findings(fit)
    assert found is not None
    critical = t.about(found.critical_size) if found.critical_size is not None else _bound(found, t)
    key = found.law_state if found.trade_off is not None else "none"
    if not critical and key != "fails":
        key = "none" if found.trade_off is None and found.law_reason != "constant_budget" else "unread"
    at = {"name": fit.name, "critical": critical}
    reached = len(found.reached) + found.left_out_reached
    told = t("fit_points", n=len(fit.points), sizes=len(found.sizes) + found.left_out, reached=reached)
    best = found.soonest
    time = best.seconds if best is not None else None
    more = [told, *([] if key == "none" else law_said(found, t)), *_rates(found, t)]
    if best is not None and time is not None:
        seconds = t.estimate(time, t.seconds)
        more.append(t("fit_soonest", batch_size=t.count(best.batch_size), seconds=seconds))
    return Answer(t(f"fit_headline_{key}", **at), tuple(regimes_said(found, t)), tuple(more))


def law_said(found: Findings, t: Translator) -> list[str]:
    """Whether the law holds, with the critical batch size; nothing where that is not known at all."""
    if found.trade_off is None:
        return [t.reason(found.law_reason)] if found.law_reason else [t("law_said_missing")]
    # The reason is among what is to be kept in mind.
    critical = t.bounded(found.trade_off.critical_batch_size, t.about)
    return [t(f"law_said_{found.law_state}", critical=critical) if critical else t("law_said_unbounded")]


def regimes_said(found: Findings, t: Translator) -> list[str]:
    """Up to where twice the batch takes half the steps, and from where a larger one saves none."""
    if not found.bands or found.in_epochs:
        return []
    perfect, useful = found.analysis.perfect_until, found.analysis.useful_until
    largest = t.count(found.reached[-1][0].batch_size)
    late = "_late" if perfect is None else ""
    sizes = {"perfect": t.count(perfect) if perfect is not None else "", "largest": largest}
    if all(regime is Regime.PERFECT_SCALING for regime, _ in found.bands):
        return [t("regimes_perfect", **sizes)] if len(found.reached) > 1 else []
    if all(regime is Regime.MAXIMAL_PARALLELISM for regime, _ in found.bands):
        return [t("regimes_flat")] if len(found.reached) > 1 else []
    if found.still_falling or useful is None:
        return [t(f"regimes_open{late}", **sizes)]
    return [t(f"regimes_three{late}", useful=t.count(useful), **sizes)]


def _rates(found: Findings, t: Translator) -> list[str]:
    law = found.analysis.rate_law
    return rate_law_said(law, t) if law is not None else []


def _bound(found: Findings, t: Translator) -> str:
    return t.bounded(found.critical, t.about) if found.critical is not None else ""
