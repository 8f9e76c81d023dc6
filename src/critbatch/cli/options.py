"""Options that several commands share, and how their words are read."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from critbatch.cli.app import BEGAN
from critbatch.errors import UserError
from critbatch.reports.translator import languages

TaskName = Annotated[
    str, typer.Argument(metavar="TASK", help="A built-in task, or your own: path/to/file.py:task, package.module:task.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON and nothing else.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where records and report go.  [default: critbatch-out/TASK]"),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the weights and of the order of the examples.")]
Device = Annotated[
    str | None, typer.Option("--device", help="cpu, cuda, cuda:1 ...  [default: the accelerator where there is one]")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Of torch, within one operation.  [default: torch's choice]")
]


BudgetSeconds = Annotated[
    float | None,
    typer.Option("--budget", metavar="SECONDS", help="Stop after this much wall-clock time."),
]
Recipe = Annotated[
    str | None, typer.Option("--recipe", help="Its name: `critbatch recipes` lists them.  [default: the task's own]")
]
BatchSizes = Annotated[
    str | None, typer.Option("--batch-sizes", metavar="SIZES", help="A list, 1,10,100, or doublings, 16..4096.")
]
TargetValue = Annotated[
    float | None,
    typer.Option("--target", help="Another value for the task's target, a validation metric or a validation loss."),
]
Language = Annotated[str, typer.Option("--language", help=f"{' or '.join(languages())}: what the report shows first.")]


# Seconds: what starting Python and torch takes on a slow machine that has nothing else to do.
USUAL_START = 5.0


def seconds_left(budget: float | None) -> float | None:
    """What is left of `--budget` by now: starting Python and torch takes seconds of it.

    Where that took longer than it usually does, the machine is busy, and the report will take longer too: as many
    seconds are kept for it. A budget that allows nothing stays as it is, to be refused where it is used.
    """
    began = BEGAN.get()
    if budget is None or not budget > 0 or began is None:
        return budget
    start = time.monotonic() - began
    return max(1e-3, budget - start - max(0.0, start - USUAL_START))


def whole_numbers(text: str | None, option: str) -> list[int] | None:
    """A list such as 1,10,100, or doublings such as 16..4096, whose end is always among them.

    >>> whole_numbers("3..20", "--batch-sizes")
    [3, 6, 12, 20]

    Raises:
        UserError: if the text is neither.
    """
    if text is None:
        return None
    try:
        if ".." in text:
            first, last = (int(part) for part in text.split(".."))
            if not 1 <= first <= last:
                raise ValueError
            sizes = []
            while first < last:
                sizes.append(first)
                first *= 2
            return [*sizes, last]
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text!r} is not understood: use a list, 1,10,100, or doublings, 16..4096.") from None


def numbers(text: str | None, option: str) -> list[float] | None:
    """A list such as 0.03,0.1,0.3. Raises UserError if it is none."""
    if text is None:
        return None
    try:
        parts = [float(part) for part in text.split(",")]
        if not all(map(math.isfinite, parts)):
            raise ValueError
        return parts
    except ValueError:
        raise UserError(f"{option} {text!r} is not understood: use a list such as 0.03,0.1,0.3.") from None


def examples_of(examples: float | None, tokens: float | None, tokens_per_example: int) -> float | None:
    """A limit in examples, given in examples or in tokens.

    Raises:
        UserError: if it is given in both.
    """
    if examples is not None and tokens is not None:
        raise UserError("--examples-limit and --tokens-limit say the same twice: give one of them.")
    return examples if tokens is None else tokens / tokens_per_example


def lists(words: Sequence[str], option: str) -> dict[str, tuple[Any, ...]]:
    """Options with several values each, as NAME=VALUE,VALUE. Values are read as those of `settings_from`.

    >>> lists(["momentum=0.0,0.9", "decay=linear,cosine"], "--vary")
    {'momentum': (0.0, 0.9), 'decay': ('linear', 'cosine')}

    Raises:
        UserError: if a word has no equals sign or no value.
    """
    found = {}
    for word in words:
        name, sign, values = word.partition("=")
        if not sign or not name.strip() or not values.strip():
            raise UserError(f"{option} {word!r} is not understood: use NAME=VALUE,VALUE, such as momentum=0.0,0.9.")
        found[name.strip()] = tuple(_value(one.strip()) for one in values.split(","))
    return found


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
