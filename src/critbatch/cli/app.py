"""The command line's root: its help, its version, and the names that people know."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
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


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        from critbatch.version import __version__

        typer.echo(f"critbatch {__version__}")
        raise typer.Exit
