"""How the best learning rate grows with the batch size."""

from __future__ import annotations

from critbatch.records.study import RateLaw
from critbatch.reporting.blocks import Block, Chart, Method, Section, Text
from critbatch.reporting.figures.rates import best_rates
from critbatch.reporting.findings import Findings
from critbatch.reporting.papers import GOYAL, MALLADI, MCCANDLISH, SHALLUE
from critbatch.reports.translator import Translator


def rate_law_section(findings: Findings, t: Translator) -> Section:
    """The picture, the exponent in words, and what lies at an edge."""
    title, picture = t("section_rate"), best_rates(findings, t)
    if picture is None:
        return Section("rate", title, (Text(t("rate_nothing")),))
    blocks: list[Block] = [Text(t("rates_text")), Chart(picture)]
    law = findings.analysis.rate_law
    if law is None:
        blocks.append(Text(t("rates_no_law")))
    else:
        low, high = (t.count(size) for size in law.sizes)
        blocks += [Text(text) for text in rate_law_said(law, t)]
        blocks.append(Text(t("rates_sizes", n=law.n, low=low, high=high)))
    edge = sum(size.at_edge for size in findings.sizes)
    if edge:
        blocks.append(Text(t("rates_edge", n=edge)))
    lines = tuple(t(key) for key in ("method_usable", "method_exponent"))
    return Section("rate", title, (*blocks, Method(lines, (GOYAL, MALLADI, SHALLUE, MCCANDLISH))))


def rate_law_said(law: RateLaw, t: Translator) -> list[str]:
    """Which of the usual rules fits, and whether the growth goes on."""
    rules = {(True, False): "linear", (False, True): "square_root", (True, True): "either", (False, False): "neither"}
    rule = rules[law.linear, law.square_root]
    told = [t(f"rates_{rule}", exponent=t.estimate(law.exponent, t.about))]
    return [*told, t("rates_bend")] if law.bends else told
