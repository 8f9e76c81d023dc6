"""Commands made from public calls: each argument becomes an option, with the docstring as its help.

A command is a function with `@command("sweep", ...)` above it. Its options are the arguments of the named call, of more
places in `also`, and of the function itself, which says how words become arguments that words cannot give. Only options
that the user gave are handed on, so that the defaults are those of the call. Signatures and docstrings are read without
importing the call (`critbatch.cli.signatures`): nothing heavy is loaded before a command runs.
"""

from __future__ import annotations

import difflib
import math
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from critbatch.arguments import check_counts
from critbatch.cli.signatures import EMPTY, Argument, docstring_lines, read_call, summary_of
from critbatch.cli.values import OLD_CHOICES, ChoiceType, ListType, notice_old, parse_options
from critbatch.errors import UserError

OLD_OPTIONS = {
    "--within": "--max-time",
    "--price": "--price-per-device-hour",
    "--current": "--current-batch-size",
    "--margin": "--accuracy-margin",
    "--decay": "--lr-decay",
    "--warm-up-epochs": "--warmup-epochs",
    "--to-the-end": "--no-stop-at-target",
    "--early-stopping": "--prune",
    "--compiled": "--compile",
    "--not-compiled": "--no-compile",
    "--delay": "--delay-seconds",
    "--joining": "--joining-seconds",
}
"""Options of version 0.1 and their names of today. The old ones stop working in the next release."""


METAVARS = {
    "device": "DEVICE",
    "link": "LINK",
    "measured": "STEPS",
    "node_link": "LINK",
    "out": "PATH",
    "path": "FILE",
    "ray": "ADDRESS",
    "recipe": "NAME",
    "start_from": "RUN",
    "steps_from": "RECORD",
    "steps_law": "S_MIN,B_CRIT",
    "storage": "URL",
    "task": "TASK",
}
"""What stands for the value of an option in its help, where the type does not say it."""

TWO_WAY = {"compile"}
"""Switches that are off by default and can be switched off, too."""

SHORT = {"quiet": "-q", "verbose": "-v"}
FLAG_COLUMNS = 28

NEVER = frozenset({"progress", "command", "evaluation", "self"})
"""Arguments of calls that are no options of any command."""

# Start of the command. Budgets count from here, not from when torch is loaded.
BEGAN: ContextVar[float | None] = ContextVar("began", default=None)

# Seconds that starting Python and torch takes on a slow, idle machine.
USUAL_START = 5.0


def seconds_left(budget: float) -> float:
    """What is left of `--budget` by now: starting Python and torch takes seconds of it.

    If that took longer than usual, the machine is busy, and the report will take longer, too: as many seconds are kept
    for it. A budget that allows nothing stays as it is, to be refused where it is used.
    """
    began = BEGAN.get()
    if not budget > 0 or began is None:
        return budget
    start = time.monotonic() - began
    return max(1e-3, budget - start - max(0.0, start - USUAL_START))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def languages() -> tuple[str, ...]:
    """Languages of reports, read only when the help of a command is shown."""
    from critbatch.reports.translator import languages

    return tuple(languages())


def _metavar(argument: Argument) -> str | None:
    if argument.mapping:
        return "NAME=VALUES" if argument.several else "NAME=VALUE"
    if argument.name == "language":
        return f"[{'|'.join(languages())}]"
    if argument.choices and not argument.several:
        return f"[{'|'.join(argument.choices)}]"
    if argument.several:
        return "LIST"
    if argument.name in ("budget", "max_time") or argument.name.endswith("seconds"):
        return "SECONDS"
    return METAVARS.get(argument.name) or {int: "N", float: "NUMBER", str: "TEXT"}.get(argument.kind)


def _default(argument: Argument) -> str:
    """The default as the user would give it, or what the docstring says of it."""
    if argument.default_text or argument.default in (EMPTY, None, ()):
        return argument.default_text
    if isinstance(argument.default, bool):
        return f"{'--' if argument.default else '--no-'}{argument.name.replace('_', '-')}"
    if isinstance(argument.default, tuple | list):
        return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in argument.default)
    return f"{argument.default:g}" if isinstance(argument.default, float) else str(argument.default)


def make_option(argument: Argument, flag: str) -> click.Option:
    """The option of an argument, with its default in its help."""
    settings: dict[str, Any] = {"metavar": _metavar(argument)}
    flags = flag
    if argument.kind is bool and not argument.several:
        one_way = argument.default is False and argument.name not in TWO_WAY
        flags = flag if one_way else f"{flag}/--no-{flag.removeprefix('--')}"
        settings = {"is_flag": True, "default": False if argument.default is False else None}
    elif argument.mapping:
        settings |= {"multiple": True}
    elif argument.several:
        settings |= {"type": ListType(argument)}
    elif argument.name == "language":
        settings |= {"type": ChoiceType(languages())}
    elif argument.choices:
        settings |= {"type": ChoiceType(argument.choices)}
    else:
        settings |= {"type": argument.kind}
    default = "" if settings.get("is_flag") and argument.default is False else _default(argument)
    help = f"{argument.help} May be given several times." if argument.mapping else argument.help
    help = " ".join(filter(None, [help, f"[default: {default}]" if default else ""]))
    short = [SHORT[argument.name]] if argument.name in SHORT else []
    return click.Option([argument.name, *short, flags], help=help, required=argument.default is EMPTY, **settings)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A command before anything of it is read.

    Args:
        call: Public call whose arguments are options, such as "sweep"; "" for none.
        panel: Heading in `critbatch --help`.
        function: What runs, with a context and the options that were given.
        context: Class whose arguments are options too, and which is made of them, such as
            "critbatch.cli.context:TaskContext"; "" for none.
        also: More places whose arguments are options.
        words: Metavar of each positional argument.
        hide: Arguments of the call that are no options.
        flags: Names of options that differ from those of the arguments.
        hidden: Whether the command is left out of lists: an old name.
    """

    name: str
    call: str
    panel: str
    function: Callable[..., Any]
    context: str = ""
    also: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    hide: frozenset[str] = frozenset()
    flags: Mapping[str, str] = field(default_factory=dict)
    hidden: bool = False

    @cached_property
    def summary(self) -> str:
        return summary_of(self.call) if self.call else docstring_lines(self.function).partition("\n")[0]

    def own(self) -> Mapping[str, Argument]:
        """Arguments that the function itself documents."""
        arguments = read_call(f"{self.function.__module__}:{self.function.__name__}").arguments
        return {name: argument for name, argument in arguments.items() if argument.help}

    def of_context(self) -> Mapping[str, Argument]:
        return read_call(self.context).arguments if self.context else {}

    def arguments(self) -> dict[str, Argument]:
        """All arguments by name, in the order of the help."""
        calls = [read_call(place).arguments for place in ((self.call,) if self.call else ()) + self.also]
        places = [{name: call[name] for name in call if name not in self.hide} for call in calls]
        own, of_context = self.own(), self.of_context()
        arguments: dict[str, Argument] = {}
        for source in (*places[:1], own, *places[1:], of_context):
            for name in source:
                meant = [of_context, own] if name in self.words else []
                first = next(known for known in (*meant, own, *places, of_context) if name in known)
                if name not in NEVER:
                    arguments.setdefault(name, first[name])
        return arguments

    def flag(self, name: str) -> str:
        return self.flags.get(name, _flag(name))


COMMANDS: dict[str, Spec] = {}
"""By name, in the order in which they are listed."""


def command(call: str, *, panel: str, hide: Iterable[str] = (), **settings: Any) -> Callable[[Any], Any]:
    """Make a command of a function. The other settings are those of `Spec`."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = settings.pop("name", function.__name__.replace("_", "-"))
        COMMANDS[name] = Spec(name=name, call=call, panel=panel, function=function, hide=frozenset(hide), **settings)
        return function

    return register


class Command(click.Command):
    """The command of a `Spec`: its options are read on first use."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.described = spec, spec.arguments()
        params: list[click.Parameter] = []
        self.described = dict(sorted(self.described.items(), key=lambda item: item[1].default is not EMPTY))
        for name, argument in self.described.items():
            if name in spec.words:
                many = spec.words[name].endswith("...")
                params.append(
                    click.Argument(
                        [name],
                        metavar=spec.words[name],
                        nargs=-1 if many else 1,
                        required=argument.default is EMPTY,
                        type=str,
                    )
                )
            else:
                params.append(make_option(argument, spec.flag(name)))
        super().__init__(
            spec.name,
            params=params,
            short_help=spec.summary,
            hidden=spec.hidden,
            no_args_is_help=False,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )

    # Help.

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        words = [
            word if self.described[name].default is EMPTY else f"[{word}]" for name, word in self.spec.words.items()
        ]
        formatter.write_usage(f"critbatch {self.spec.name}", " ".join([*words, "[OPTIONS]"]))

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = docstring_lines(self.spec.function)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.spec.summary)
            details = lines if self.spec.call else lines.partition("\n\n")[2]
            for paragraph in filter(None, details.split("\n\n")):
                formatter.write_paragraph()
                if paragraph.startswith(("    ", "critbatch ")):  # examples, which keep their lines
                    for line in paragraph.splitlines():
                        formatter.write(f"{'':{formatter.current_indent}}  {line.strip()}\n")
                else:
                    formatter.write_text(paragraph)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(word, self.described[name].help) for name, word in self.spec.words.items()]
        if rows:
            with formatter.section("Arguments"):
                _write_rows(formatter, rows)
        names = self.spec.of_context().keys() - self.spec.words.keys()

        def is_common(option: click.Option) -> bool:
            return option.name in names or "--help" in option.opts

        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        for title, chosen in (
            ("Options", [option for option in options if not is_common(option)]),
            ("General options", [option for option in options if is_common(option)]),
        ):
            if records := [record for option in chosen if (record := option.get_help_record(ctx)) is not None]:
                with formatter.section(title):
                    _write_rows(formatter, records)
        lists = {argument.kind for argument in self.described.values() if argument.several and not argument.mapping}
        notes = {int: "1,10,100 or doublings such as 16..4096", float: "0.03,0.1,0.3"}
        if examples := [notes[kind] for kind in (int, float) if kind in lists]:
            formatter.write_paragraph()
            formatter.write_text(f"LIST: values such as {', or '.join(examples)}.")

    # Words.

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_names_of_today(args))

    def _with_names_of_today(self, args: list[str]) -> list[str]:
        flags = {flag for param in self.params for flag in (*param.opts, *param.secondary_opts)}
        current: list[str] = []
        for position, word in enumerate(args):
            if word == "--":
                return [*current, *args[position:]]
            name, sign, value = word.partition("=")
            if name in OLD_OPTIONS and OLD_OPTIONS[name] in flags and name not in flags:
                notice_old(name, OLD_OPTIONS[name])
                name = OLD_OPTIONS[name]
            current.append(f"{name}{sign}{value}")
            option, choice = (name, value) if sign else (current[-2] if len(current) > 1 else "", word)
            if (new := OLD_CHOICES.get(option, {}).get(choice)) is not None:
                notice_old(f"{option} {choice}", f"{option} {new}")
        return current

    def invoke(self, ctx: click.Context) -> Any:
        given = {
            name: value
            for name, value in ctx.params.items()
            if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        for name, value in given.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{self.spec.flag(name)} {value} is not possible: use a finite number.")
            if self.described[name].mapping:
                given[name] = parse_options(value, self.spec.flag(name), several=self.described[name].several)
        check_counts(given, lambda name, value: f"{self.spec.flag(name)} {value}")
        context = []
        if self.spec.context:
            module, _, kind = self.spec.context.partition(":")
            names = self.spec.of_context().keys()
            words = {name: given.pop(name) for name in [*given] if name in names}
            context = [getattr(import_module(module), kind)(**words)]
        if "budget" in given:
            given["budget"] = seconds_left(given["budget"])
        record = self.spec.function(*context, **given)
        if record is not None and context:
            context[0].show(record)


def _write_rows(formatter: click.HelpFormatter, rows: Sequence[tuple[str, str]]) -> None:
    """Pairs in two columns. As click's, but nothing is broken at a hyphen, such as critbatch-out/TASK."""
    width = min(FLAG_COLUMNS, 2 + max(len(first) for first, _ in rows))
    for first, second in rows:
        lines = textwrap.wrap(second, formatter.width - width - 2, break_on_hyphens=False, break_long_words=False)
        fits = len(first) <= width - 2
        begin = f"  {first:<{width}}{lines[0]}" if fits and lines else f"  {first}"
        rest = lines[1:] if fits else lines
        formatter.write("\n".join([begin, *(f"{'':{width + 2}}{line}" for line in rest)]) + "\n")


def build(name: str) -> Command | None:
    """The command of this name, which is read now. An old name of a command works, with a notice."""
    return Command(COMMANDS[name]) if name in COMMANDS else None


def nearest(word: str, known: Iterable[str]) -> str:
    """ "Did you mean ...?", where a known word is like it."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def add_old_name(old: str, new: str) -> None:
    """Let a command be called by the name that it had."""

    def function(*context: Any, **given: Any) -> Any:
        notice_old(f"critbatch {old}", f"critbatch {new}")
        return spec.function(*context, **given)

    spec = COMMANDS[new]
    function.__module__, function.__name__, function.__doc__ = (
        spec.function.__module__,
        spec.function.__name__,
        spec.function.__doc__,
    )
    COMMANDS[old] = replace(spec, name=old, function=function, hidden=True)
