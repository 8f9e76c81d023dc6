"""How to train with an answer: the code."""

from __future__ import annotations

from critbatch.records.core import Advice
from critbatch.reporting.blocks import Block, Facts, Section, Text
from critbatch.reporting.voice import Voice
from critbatch.reports.snippets import snippets

TITLES = {
    "torch": "use_torch",
    "lightning": "use_lightning",
    "huggingface": "use_huggingface",
    "critbatch": "use_critbatch",
}


def use_section(advice: Advice, voice: Voice) -> Section | None:
    """Code for plain PyTorch, Lightning and the Hugging Face Trainer; None where there was no answer."""
    found = snippets(advice)
    if not found:
        return None
    alone = found[0].name == "critbatch"
    blocks: list[Block] = [Text(voice("use_text_task" if alone else "use_text"))]
    for snippet in found:
        blocks += [Text(voice(TITLES[snippet.name])), Facts((), code=snippet.code)]
    return Section("use", voice("section_use"), tuple(blocks))
