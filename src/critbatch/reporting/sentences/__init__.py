"""The tables that `words.py` puts together, and what a line of them is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One thing said in English and in Chinese, with the same placeholders."""

    en: str
    zh: str

    def say(self, language: str) -> str:
        return self.zh if language == "zh" else self.en
