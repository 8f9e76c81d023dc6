"""Texts that stay what they are in Markdown: no letter of a name can become markup."""

from __future__ import annotations

import re

# Each may begin or end markup in GitHub's Markdown, its tables or its formulas.
ALWAYS = re.compile(r"[\\`*\[\]<|~$]")
# Within a word an underscore is only itself; and these only before what they would make with it.
SOMETIMES = re.compile(r"(?<![^\W_])_|_(?![^\W_])|&(?=[#\w])|:(?=//)|:(?=[\w+-]+:)|(?<=www)\.")
FIRST = re.compile(r"^([#>=+-])|^(\d{1,9})([.)])(?=\s|$)")
SPACES = re.compile(r"\s+")


def escaped(text: str) -> str:
    """The text in one row, so that it is shown letter for letter wherever it stands.

    >>> print(escaped("<b>S_min</b> *and* __E__"))
    \\<b>S_min\\</b> \\*and\\* \\_\\_E\\_\\_
    """
    row = SPACES.sub(" ", text).strip()
    found = {match.start() for pattern in (ALWAYS, SOMETIMES) for match in pattern.finditer(row)}
    row = "".join(f"\\{letter}" if i in found else letter for i, letter in enumerate(row))
    return FIRST.sub(lambda match: f"\\{match[1]}" if match[1] else f"{match[2]}\\{match[3]}", row)


def fenced(code: str) -> str:
    """Code in a fence that is longer than any within it."""
    longest = max((len(run) for run in re.findall("`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{code.rstrip()}\n{fence}"
