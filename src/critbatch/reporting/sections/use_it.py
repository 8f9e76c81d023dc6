"""How to train with an answer: the code."""

from __future__ import annotations

from critbatch.records.core import Advice
from critbatch.reporting.blocks import Block, Facts, Section, Text
from critbatch.reports.snippets import snippets
from critbatch.reports.translator import Translator

TITLES = {
    "torch": "use_torch",
    "lightning": "use_lightning",
    "huggingface": "use_huggingface",
    "critbatch": "use_critbatch",
}


def use_section(advice: Advice, t: Translator) -> Section | None:
    """Code for plain PyTorch, Lightning and the Hugging Face Trainer; None where there was no answer."""
    found = snippets(advice)
    if not found:
        return None
    alone = found[0].name == "critbatch"
    blocks: list[Block] = [Text(t("use_text_task" if alone else "use_text"))]
    for snippet in found:
        blocks += [Text(t(TITLES[snippet.name])), Facts((), code=snippet.code)]
    return Section("use", t("section_use"), tuple(blocks))
