"""Fonts that are at hand for figures in paper style, and which letters they have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from matplotlib import font_manager

from critbatch.errors import UserError

# matplotlib brings the last one with it.
LATIN = ("Helvetica", "Arial", "Liberation Sans", "Nimbus Sans", "DejaVu Sans")
CHINESE = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Source Han Sans CN",
    "PingFang SC",
    "Hiragino Sans GB",
    "Heiti SC",
    "STHeiti",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Noto Sans CJK JP",
    "Noto Serif CJK SC",
    "Arial Unicode MS",
    "Droid Sans Fallback",
)
HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
UNKNOWN = "\N{WHITE SQUARE}"


@dataclass(frozen=True)
class Fonts:
    """Families in the order in which a letter is looked for."""

    families: tuple[str, ...]

    def shown(self, text: str) -> str:
        """The text with a square for each letter that no font has."""
        return "".join(letter if letter == "\n" or self._has(letter) else UNKNOWN for letter in text)

    def _has(self, letter: str) -> bool:
        return any(ord(letter) in letters_of(family) for family in self.families)


def fonts_for(texts: Iterable[str]) -> Fonts:
    """Fonts for these texts.

    Raises:
        UserError: if there are Chinese letters among them and no font that has those.
    """
    there = _installed()
    latin = [name for name in LATIN if name in there]
    if not any(HAN.search(text) for text in texts):
        return Fonts(tuple(latin))
    chinese = next((name for name in CHINESE if name in there), None)
    if chinese is None:
        raise UserError(
            "No font with Chinese letters was found for the figure: install one, such as Noto Sans CJK "
            "(package fonts-noto-cjk), or ask for English."
        )
    return Fonts((*latin, chinese))


@cache
def letters_of(family: str) -> frozenset[int]:
    """The code points that the family has."""
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())


def _installed() -> set[str]:
    return set(font_manager.get_font_names())
