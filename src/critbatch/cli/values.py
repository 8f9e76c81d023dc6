"""Words of the command line read as values: lists, doublings, choices, and options of recipes."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Sequence
from typing import Any

import click

from critbatch.arguments import RENAMED_OPTIONS
from critbatch.cli.signatures import Argument
from critbatch.errors import UserError

OLD_CHOICES = {
    "--objective": {"soonest": "time", "cheapest": "cost"},
    "--lr-decay": {"stairs": "step"},
}
"""Values of options, likewise."""


def notice(sentence: str) -> None:
    """Tell the user something that does not stop the command."""
    print(f"critbatch: {sentence}", file=sys.stderr)


def notice_old(old: str, new: str) -> None:
    notice(f"{old} is now called {new}. The old name stops working in the next release.")


def parse_ints(text: str, option: str) -> list[int]:
    """A list such as 1,10,100, or doublings such as 16..4096, which always include the end.

    >>> parse_ints("3..20", "--batch-sizes")
    [3, 6, 12, 20]

    Raises:
        UserError: if the text is neither.
    """
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


def parse_numbers(text: str, option: str) -> list[float]:
    """A list such as 0.03,0.1,0.3. Raises UserError if it is none."""
    try:
        parts = [float(part) for part in text.split(",")]
        if not all(map(math.isfinite, parts)):
            raise ValueError
        return parts
    except ValueError:
        raise UserError(f"{option} {text!r} is not understood: use a list such as 0.03,0.1,0.3.") from None


def parse_options(words: Sequence[str], option: str = "--set", *, several: bool = False) -> dict[str, Any]:
    """Options of a recipe, as NAME=VALUE or NAME=VALUE,VALUE. Values are read as Python reads them, else as text.

    >>> parse_options(["factor=2", "at=(0.5, 0.8)", "variant=mlperf"])
    {'factor': 2, 'at': (0.5, 0.8), 'variant': 'mlperf'}
    >>> parse_options(["momentum=0.0,0.9", "lr_decay=linear,cosine"], "--vary", several=True)
    {'momentum': (0.0, 0.9), 'lr_decay': ('linear', 'cosine')}

    Raises:
        UserError: if a word has no equals sign or no value.
    """
    options: dict[str, Any] = {}
    form = "NAME=VALUE,VALUE, such as momentum=0.0,0.9" if several else "NAME=VALUE, such as momentum=0.95"
    for word in words:
        name, sign, value = (part.strip() for part in word.partition("="))
        if not sign or not name or (several and not value):
            raise UserError(f"{option} {word!r} is not understood: use {form}.")
        if name in RENAMED_OPTIONS:
            notice_old(f"{option} {name}=", f"{option} {RENAMED_OPTIONS[name]}=")
            name = RENAMED_OPTIONS[name]
        options[name] = tuple(_literal(one.strip()) for one in value.split(",")) if several else _literal(value)
    return options


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class ListType(click.ParamType):  # type: ignore[type-arg]
    """A list of numbers or words, separated by commas."""

    name = "list"

    def __init__(self, argument: Argument) -> None:
        self.argument = argument

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        option = f"--{self.argument.name}" if param is None else param.opts[0]
        if self.argument.kind is int:
            return parse_ints(value, option)
        if self.argument.kind is float:
            return parse_numbers(value, option)
        return [_choice(part.strip(), self.argument.choices, option) for part in value.split(",")]


class ChoiceType(click.ParamType):  # type: ignore[type-arg]
    """One of a few words. A hyphen stands for an underscore, too."""

    name = "choice"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return _choice(value, self.choices, "" if param is None else param.opts[0])

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


def _choice(text: str, choices: Sequence[str], option: str) -> str:
    text = OLD_CHOICES.get(option, {}).get(text, text)
    for choice in (text, text.replace("-", "_")):
        if choice in choices or not choices:
            return choice
    raise UserError(f"{option} {text!r} is not known: use {', '.join(choices)}.")
