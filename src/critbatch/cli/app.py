"""The command line's root: its help, its version, and the names that people know."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from critbatch.arguments import check_counts
from critbatch.errors import UserError


class Command(TyperCommand):
    """A command whose numbers are finite, as NaN passes any comparison with a bound, and whose counts are possible."""

    def invoke(self, ctx: Any) -> Any:
        for name, value in ctx.params.items():
            if isinstance(value, float) and not math.isfinite(value):
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} {value} is not possible: use a finite number.")
        check_counts(ctx.params, lambda name, value: f"--{name.replace('_', '-')} {value}")
        return super().invoke(ctx)


class App(typer.Typer):
    """A command line all of whose commands are a `Command`."""

    def command(self, *args: Any, **settings: Any) -> Callable[[Any], Any]:
        return super().command(*args, **{"cls": Command, **settings})


app = App(
    name="critbatch",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Which batch size, with which learning rate, reaches your target soonest, and what does it cost?

    \b
        critbatch advise digits-mlp
        critbatch advise my_task.py:task --current 64 --budget 600
    """,
)

# When the command began: budgets count from here, not from when torch is loaded.
BEGAN: ContextVar[float | None] = ContextVar("began", default=None)


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    BEGAN.set(time.monotonic())
    if version:
        from critbatch.version import __version__

        typer.echo(f"critbatch {__version__}")
        raise typer.Exit
