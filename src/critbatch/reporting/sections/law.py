"""The law of steps and examples: what it says here, and the test of whether it holds."""

from __future__ import annotations

import math

from critbatch.law.goodness_of_fit import DOUBT
from critbatch.records.core import Estimate
from critbatch.reporting.blocks import Block, Chart, Method, Section, Text
from critbatch.reporting.figures.trade_off import steps_against_examples
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import MCCANDLISH, SHALLUE
from critbatch.reporting.voice import Voice

# The p value itself says as much as these reasons do.
PLAIN = ("", "law_misfit")


def law_section(findings: Findings, voice: Voice) -> Section:
    """Steps against examples, the least of both, and the test of fit in words."""
    title, law = voice("section_law"), findings.trade_off
    picture = steps_against_examples(findings, voice)
    charts = [Chart(picture)] if picture is not None else []
    if law is None:
        why = voice.reason(findings.law_reason) if findings.law_reason else voice("law_nothing")
        return Section("law", title, (Text(why), *charts))
    texts = (_meaning(findings, voice), *_test(findings, voice), *_exponent(findings, voice))
    blocks: list[Block] = [Text(text) for text in texts if text]
    lines = [voice("method_trade_off")]
    if law.p_value is not None:
        lines.append(voice("method_p_value"))
    if math.isfinite(law.scatter) and law.scatter > 0:
        blocks.append(Text(voice("law_scatter", scatter=voice.percent(math.expm1(law.scatter)))))
    reasons = {
        each.reason for each in (law.critical_batch_size, law.min_steps, law.min_examples, law.min_epochs) if each
    }
    blocks += [Text(voice.reason(key)) for key in sorted(reasons - {"", findings.law_reason})]
    return Section("law", title, (*blocks, *charts, Method(tuple(lines), (MCCANDLISH, SHALLUE))))


def _meaning(findings: Findings, voice: Voice) -> str:
    law = findings.trade_off
    assert law is not None
    if law.min_steps is not None and law.min_examples is not None:
        steps, examples = (_told(each, voice) for each in (law.min_steps, law.min_examples))
        return voice("law_meaning", steps=steps, examples=examples)
    if law.min_epochs is not None:
        return voice("law_meaning_epochs", epochs=_told(law.min_epochs, voice))
    return ""


def _exponent(findings: Findings, voice: Voice) -> list[str]:
    """What the interval of the critical batch size allows for, and what it would be without that."""
    law = findings.trade_off
    assert law is not None
    if law.exponent is None or law.critical_if_exact is None:
        return []
    exponent = voice.estimate(law.exponent, voice.about)
    exact = voice.bounded(law.critical_if_exact, voice.about)
    return [voice("law_exponent", exponent=exponent), *([voice("law_if_exact", critical=exact)] if exact else [])]


def _told(estimate: Estimate, voice: Voice) -> str:
    return voice.bounded(estimate, voice.about) or voice("not_known")


def _test(findings: Findings, voice: Voice) -> list[str]:
    law, reason = findings.trade_off, findings.law_reason
    assert law is not None
    if law.p_value is None:
        return [voice("law_test_none"), *([voice.reason(reason)] if reason else [])]
    if findings.law_holds and reason:
        return [voice.reason(reason)]
    if law.undecided:
        said = (
            voice("law_test_open", p=voice.about(law.p_value)) if law.p_value >= DOUBT else voice.reason("small_misfit")
        )
        return [said, voice.reason(reason)]
    if reason not in PLAIN:
        return [voice.reason(reason), voice("law_says_no")]
    name = f"test_{law.test}"
    test = voice(name) if law.test in ("lack_of_fit", "bend") else law.test
    key = "law_test_holds" if findings.law_holds else "law_test_fails"
    return [voice(key, p=voice.about(law.p_value), test=test)]
