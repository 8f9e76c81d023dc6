"""The law of steps and examples: what it says here, and the test of whether it holds."""

from __future__ import annotations

import math

from critbatch.law.goodness_of_fit import DOUBT
from critbatch.records.core import Estimate
from critbatch.reporting.blocks import Block, Chart, Method, Section, Text
from critbatch.reporting.figures.trade_off import steps_against_examples
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import MCCANDLISH, SHALLUE
from critbatch.reports.translator import Translator

# The p value itself says as much as these reasons do.
PLAIN = ("", "law_misfit")


def law_section(findings: Findings, t: Translator) -> Section:
    """Steps against examples, the least of both, and the test of fit in words."""
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


def _meaning(findings: Findings, t: Translator) -> str:
    law = findings.trade_off
    assert law is not None
    if law.min_steps is not None and law.min_examples is not None:
        steps, examples = (_told(each, t) for each in (law.min_steps, law.min_examples))
        return t("law_meaning", steps=steps, examples=examples)
    if law.min_epochs is not None:
        return t("law_meaning_epochs", epochs=_told(law.min_epochs, t))
    return ""


def _exponent(findings: Findings, t: Translator) -> list[str]:
    """What the interval of the critical batch size allows for, and what it would be without that."""
    law = findings.trade_off
    assert law is not None
    if law.exponent is None or law.critical_if_exact is None:
        return []
    exponent = t.estimate(law.exponent, t.about)
    exact = t.bounded(law.critical_if_exact, t.about)
    return [t("law_exponent", exponent=exponent), *([t("law_if_exact", critical=exact)] if exact else [])]


def _told(estimate: Estimate, t: Translator) -> str:
    return t.bounded(estimate, t.about) or t("not_known")


def _test(findings: Findings, t: Translator) -> list[str]:
    law, reason = findings.trade_off, findings.law_reason
    assert law is not None
    if law.p_value is None:
        return [t("law_test_none"), *([t.reason(reason)] if reason else [])]
    if findings.law_holds and reason:
        return [t.reason(reason)]
    if law.undecided:
        said = t("law_test_open", p=t.about(law.p_value)) if law.p_value >= DOUBT else t.reason("small_misfit")
        return [said, t.reason(reason)]
    if reason not in PLAIN:
        return [t.reason(reason), t("law_says_no")]
    name = f"test_{law.test}"
    test = t(name) if law.test in ("lack_of_fit", "bend") else law.test
    key = "law_test_holds" if findings.law_holds else "law_test_fails"
    return [t(key, p=t.about(law.p_value), test=test)]
