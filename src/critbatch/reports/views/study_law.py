"""Sections on the results of a study: metrics at equal budgets, the law, and the learning-rate law."""

from __future__ import annotations

import math

from critbatch.law.goodness_of_fit import DOUBT
from critbatch.records.core import Estimate
from critbatch.records.study import BudgetPoint, BudgetReading, BudgetUnit, RateLaw
from critbatch.reports.charts.advice import best_rates
from critbatch.reports.charts.study import steps_against_examples, three_budgets
from critbatch.reports.derived.study import StudyResults, claim, comparisons, ends, lag, trend
from critbatch.reports.model import (
    GOYAL,
    KESKAR,
    MALLADI,
    MCCANDLISH,
    SHALLUE,
    Block,
    Cell,
    Chart,
    Method,
    Section,
    Table,
    Text,
)
from critbatch.reports.translator import Translator
from critbatch.reports.views.common import notes

QUANTITIES = ("train_metric", "validation_metric", "train_loss", "validation_loss")


def budgets_section(findings: StudyResults, t: Translator, *, drawn: bool = False) -> Section:
    """Metrics at equal epochs, steps and time. `drawn`: the picture is already shown elsewhere."""
    metric = t.metric(findings.metric_name)
    title, budgets = t("section_budgets", metric=metric), findings.analysis.budgets
    readings = comparisons(budgets)
    if not readings:
        return Section("budgets", title, (Text(t("budgets_nothing")),))
    picture = None if drawn else three_budgets(findings, t)
    blocks: list[Block] = [Text(t("budgets_text")), Text(t(f"claim_{claim(budgets)}"))]
    if (key := lag(budgets)) is not None:
        blocks.append(Text(t(key)))
    blocks += [Chart(picture)] if picture is not None else []
    # Several readings have the same runs, which must be counted once.
    failed_runs = {
        (point.batch_size, point.learning_rate, repr(point.options)): point.failed for point in _points(readings)
    }
    failed = sum(failed_runs.values())
    blocks += [Text(t("budgets_failed", n=failed))] if failed else []
    blocks += [_verdicts(readings, metric, t), _numbers(readings, metric, t)]
    lines = (
        t("method_budgets", metric=metric),
        t("method_budgets_seeds"),
        t("method_training_metric"),
    )
    return Section("budgets", title, (*blocks, Method(lines, (SHALLUE, KESKAR, GOYAL))))


def _points(readings: list[BudgetReading]) -> list[BudgetPoint]:
    return [point for reading in readings for point in reading.points]


def _verdicts(readings: list[BudgetReading], metric: str, t: Translator) -> Table:
    """The largest batch size against the smallest, one row per comparison."""
    header = (
        t("column_equal"),
        t("column_rate_kind"),
        t("column_from_to"),
        t("column_training", metric=metric),
        t("column_validation", metric=metric),
    )
    rows = tuple(
        (
            Cell(equal(reading, t)),
            Cell(t("rate_tuned" if reading.tuned else "rate_fixed")),
            Cell(_sizes(reading, t)),
            _change(reading, "train_metric", t),
            _change(reading, "validation_metric", t),
        )
        for reading in readings
    )
    return Table(t("budgets_verdicts"), header, rows)


def equal(reading: BudgetReading, t: Translator) -> str:
    write = t.seconds if reading.spent is BudgetUnit.SECONDS else t.about
    return t(f"panel_{reading.spent}", amount=write(reading.amount))


def _sizes(reading: BudgetReading, t: Translator) -> str:
    sizes = [point.batch_size for point in reading.points]
    return t.span(min(sizes), max(sizes), t.count)


def _change(reading: BudgetReading, quantity: str, t: Translator) -> Cell:
    first, last = ends(reading, quantity)
    text = t("from_to", first=t.score(first.value), last=t.score(last.value))
    return Cell(text, t(f"trend_{trend(reading, quantity)}"))


def _numbers(readings: list[BudgetReading], metric: str, t: Translator) -> Table:
    header = (
        t("batch_size"),
        t("column_equal"),
        t("column_rate_kind"),
        t("learning_rate"),
        t("column_train_metric", metric=metric),
        t("column_validation_metric", metric=metric),
        t("column_train_loss"),
        t("column_validation_loss"),
        t("column_seeds"),
    )
    rows = tuple(
        _row(reading, point, t)
        for reading in readings
        for point in sorted(reading.points, key=lambda point: point.batch_size)
    )
    estimates = [getattr(point, name) for point in _points(readings) for name in QUANTITIES]
    return Table(t("budgets_caption"), header, rows, notes(estimates, t), folded=True)


def _row(reading: BudgetReading, point: BudgetPoint, t: Translator) -> tuple[Cell, ...]:
    return (
        Cell(t.count(point.batch_size)),
        Cell(equal(reading, t)),
        Cell(t("rate_tuned" if reading.tuned else "rate_fixed")),
        Cell(t.rate(point.learning_rate), t.options(point.options)),
        *(_number(getattr(point, name), t) for name in QUANTITIES),
        Cell(t.count(point.validation_metric.n)),
    )


def _number(estimate: Estimate, t: Translator) -> Cell:
    return Cell(t.score(estimate.value), t.bounds(estimate, t.score) or t("no_interval"))


# The law of steps and examples.

# Reasons that add nothing to the p value.
PLAIN = ("", "law_misfit")


def law_section(findings: StudyResults, t: Translator) -> Section:
    """Steps against examples, the minimum of both, and the test of fit in words."""
    title, law = t("section_law"), findings.trade_off
    picture = steps_against_examples(findings, t)
    charts = [Chart(picture)] if picture is not None else []
    if law is None:
        why = t.reason(findings.law_reason) if findings.law_reason else t("law_nothing")
        return Section("law", title, (Text(why), *charts))
    texts = (_meaning(findings, t), *_test(findings, t), *_exponent(findings, t))
    blocks: list[Block] = [Text(text) for text in texts if text]
    lines = [t("method_trade_off")]
    if law.p_value is not None:
        lines.append(t("method_p_value"))
    if math.isfinite(law.scatter) and law.scatter > 0:
        blocks.append(Text(t("law_scatter", scatter=t.percent(math.expm1(law.scatter)))))
    reasons = {
        each.reason for each in (law.critical_batch_size, law.min_steps, law.min_examples, law.min_epochs) if each
    }
    blocks += [Text(t.reason(key)) for key in sorted(reasons - {"", findings.law_reason})]
    return Section("law", title, (*blocks, *charts, Method(tuple(lines), (MCCANDLISH, SHALLUE))))


def _meaning(findings: StudyResults, t: Translator) -> str:
    law = findings.trade_off
    assert law is not None
    if law.min_steps is not None and law.min_examples is not None:
        steps, examples = (_estimate_text(each, t) for each in (law.min_steps, law.min_examples))
        return t("law_meaning", steps=steps, examples=examples)
    if law.min_epochs is not None:
        return t("law_meaning_epochs", epochs=_estimate_text(law.min_epochs, t))
    return ""


def _exponent(findings: StudyResults, t: Translator) -> list[str]:
    """The exponent of the law, and the critical batch size if the exponent were exactly one."""
    law = findings.trade_off
    assert law is not None
    if law.exponent is None or law.critical_if_exact is None:
        return []
    exponent = t.estimate(law.exponent, t.about)
    exact = t.bounded(law.critical_if_exact, t.about)
    return [t("law_exponent", exponent=exponent), *([t("law_if_exact", critical=exact)] if exact else [])]


def _estimate_text(estimate: Estimate, t: Translator) -> str:
    return t.bounded(estimate, t.about) or t("not_known")


def _test(findings: StudyResults, t: Translator) -> list[str]:
    law, reason = findings.trade_off, findings.law_reason
    assert law is not None
    if law.p_value is None:
        return [t("law_test_none"), *([t.reason(reason)] if reason else [])]
    if findings.law_holds and reason:
        return [t.reason(reason)]
    if law.undecided:
        text = t("law_test_open", p=t.about(law.p_value)) if law.p_value >= DOUBT else t.reason("small_misfit")
        return [text, t.reason(reason)]
    if reason not in PLAIN:
        return [t.reason(reason), t("law_says_no")]
    name = f"test_{law.test}"
    test = t(name) if law.test in ("lack_of_fit", "bend") else law.test
    key = "law_test_holds" if findings.law_holds else "law_test_fails"
    return [t(key, p=t.about(law.p_value), test=test)]


# The learning-rate law.


def rate_law_section(findings: StudyResults, t: Translator) -> Section:
    """The picture, the exponent in words, and rates at the edge of the search."""
    title, picture = t("section_rate"), best_rates(findings, t)
    if picture is None:
        return Section("rate", title, (Text(t("rate_nothing")),))
    blocks: list[Block] = [Text(t("rates_text")), Chart(picture)]
    law = findings.analysis.rate_law
    if law is None:
        blocks.append(Text(t("rates_no_law")))
    else:
        low, high = (t.count(size) for size in law.sizes)
        blocks += [Text(text) for text in rate_law_sentences(law, t)]
        blocks.append(Text(t("rates_sizes", n=law.n, low=low, high=high)))
    edge = sum(size.at_edge for size in findings.sizes)
    if edge:
        blocks.append(Text(t("rates_edge", n=edge)))
    lines = tuple(t(key) for key in ("method_usable", "method_exponent"))
    return Section("rate", title, (*blocks, Method(lines, (GOYAL, MALLADI, SHALLUE, MCCANDLISH))))


def rate_law_sentences(law: RateLaw, t: Translator) -> list[str]:
    """Which scaling rule fits, and whether the growth continues."""
    rules = {(True, False): "linear", (False, True): "square_root", (True, True): "either", (False, False): "neither"}
    rule = rules[law.linear, law.square_root]
    sentences = [t(f"rates_{rule}", exponent=t.estimate(law.exponent, t.about))]
    return [*sentences, t("rates_bend")] if law.bends else sentences
