"""The root of the command line: the list of commands, `--version`, and completion for shells."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from critbatch.cli import ask, explain, measure, study
from critbatch.cli.options import BEGAN, COMMANDS, add_old_name, build, nearest
from critbatch.errors import UserError

MODULES = (ask, measure, study, explain)  # imported so that their commands are known
COMPLETION = "_CRITBATCH_COMPLETE"
PANELS = ("Ask", "Measure", "Study", "Explain")
SHELLS = ("bash", "zsh", "fish")

add_old_name("lecture", "claims")


class App(click.Group):
    """All commands. Each is read on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return build(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        known = [name for name, spec in COMMANDS.items() if not spec.hidden]
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UserError(f"There is no command {args[0]!r}.{nearest(args[0], known)} `critbatch --help` lists all.")
        return super().resolve_command(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage("critbatch", "COMMAND [ARGUMENTS] [OPTIONS]")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, COMMANDS))
        for panel in PANELS:
            visible = [spec for spec in COMMANDS.values() if spec.panel == panel and not spec.hidden]
            with formatter.section(panel):
                for spec in visible:
                    formatter.write(f"  {spec.name:<{width}}  {spec.summary}\n")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        visible = [spec for spec in COMMANDS.values() if not spec.hidden and spec.name.startswith(incomplete)]
        if visible and not incomplete.startswith("-"):
            return [CompletionItem(spec.name, help=spec.summary) for spec in visible]
        return super().shell_complete(ctx, incomplete)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from critbatch.version import __version__

        print(f"critbatch {__version__}")
        ctx.exit()


def completion_script(shell: str) -> str:
    """What a shell must run to complete commands and options of critbatch.

    Raises:
        UserError: for a shell that is not supported.
    """
    shell = Path(os.environ.get("SHELL", "")).name if shell == "auto" else shell
    kind = get_completion_class(shell)
    if kind is None or shell not in SHELLS:
        raise UserError(f"Completion is not available for the shell {shell!r}: use {', '.join(SHELLS)}.")
    # The script alone: click would ask bash for its version first.
    complete = kind(app, {}, "critbatch", COMPLETION)
    return str(complete.source_template % complete.source_vars())


def install_completion(shell: str) -> str:
    """Write the script, and have the shell read it when it starts. Returns what was done, as a sentence."""
    script = completion_script(shell)
    name = Path(os.environ.get("SHELL", "")).name if shell == "auto" else shell
    home = Path.home()
    place = {
        "bash": home / ".local/share/bash-completion/completions/critbatch",
        "zsh": home / ".critbatch-completion.zsh",
        "fish": home / ".config/fish/completions/critbatch.fish",
    }[name]
    start = {"bash": home / ".bashrc", "zsh": home / ".zshrc"}.get(name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(script, encoding="utf-8")
        line = f'. "{place}"'
        if start is not None and line not in (start.read_text(encoding="utf-8") if start.is_file() else ""):
            with start.open("a", encoding="utf-8") as file:
                file.write(f"\n{line}  # completion of critbatch\n")
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written ({error.strerror}): use --show-completion.") from error
    return f"Completion for {name} is installed in {place}: it works in new shells."


def _show_completion(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        print(completion_script(value))
        ctx.exit()


def _install_completion(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        print(install_completion(value))
        ctx.exit()


def _begin(**_: Any) -> None:
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def _eager(flag: str, callback: Any, help: str, **settings: Any) -> click.Option:
    return click.Option([flag], callback=callback, expose_value=False, is_eager=True, help=help, **settings)


SHELL: dict[str, Any] = {"is_flag": False, "flag_value": "auto", "metavar": "[SHELL]"}

app = App(
    "critbatch",
    callback=_begin,
    invoke_without_command=True,
    subcommand_metavar="COMMAND",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    params=[
        _eager("--version", _version, "Show the version.", is_flag=True),
        _eager("--install-completion", _install_completion, "Install completion for bash, zsh or fish.", **SHELL),
        _eager("--show-completion", _show_completion, "Show the script of this completion.", **SHELL),
    ],
    help="""Which batch size, with which learning rate, reaches your target soonest, and what does it cost?

    \b
        critbatch advise digits-mlp
        critbatch advise my_task.py:task --current-batch-size 64 --budget 600

    `critbatch COMMAND --help` describes a command.
    """,
)


def command_help(name: str) -> str:
    """The help of a command as a terminal of 80 columns shows it."""
    command = build(name)
    assert command is not None, name
    context = click.Context(command, info_name=name, terminal_width=78)
    return command.get_help(context)


def run(words: list[str]) -> int:
    """Run the command line once, and return its exit code.

    Raises:
        UserError: for what the user must change.
        click.ClickException: for words that are not understood.
    """
    BEGAN.set(time.monotonic())
    if instruction := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "critbatch", COMPLETION, instruction)
    try:
        with app.make_context("critbatch", list(words)) as ctx:
            app.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0
