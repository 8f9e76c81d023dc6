"""The command line. It imports nothing heavy: `critbatch --help` answers at once."""

from __future__ import annotations

import _thread
import errno
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from critbatch.cli.app import run
from critbatch.errors import UserError

INTERRUPTED = 130
SECONDS_TO_TIDY_UP = 0.02
PACKAGE = str(Path(__file__).resolve().parents[1])
PYTHON_FORMAT = warnings.formatwarning


def main() -> None:
    """Run the command line: exit code 0, 2 for input that cannot be used, 130 after Ctrl-C."""
    try:
        _prepare_streams()
        warnings.formatwarning = _format_warning
        sys.unraisablehook = _hook_before(sys.unraisablehook)
        code = _run()
    except KeyboardInterrupt:  # at the very beginning, or a second Ctrl-C while the first was being answered
        code = INTERRUPTED
    with suppress(ValueError):  # another thread than the main one cannot
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if code == INTERRUPTED:
        _say("stopped. What was learned is kept: the same command goes on from there.")
    _flush()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        # One of many processes leaves at once: threads of gloo that are alive still may abort it on its way out.
        os._exit(code)
    sys.exit(code)


def _run() -> int:
    try:
        return run(sys.argv[1:])
    except click.ClickException as error:
        command = error.ctx.command.name if isinstance(error, click.UsageError) and error.ctx is not None else None
        help = "critbatch --help" if command in (None, "critbatch") else f"critbatch {command} --help"
        _say(f"{' '.join(error.format_message().split())} `{help}` shows what is possible.")
        return 2
    except BrokenPipeError:  # the reader of the output has ended
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except UserError as error:
        _say(str(error))
        return 2
    except Exception as error:
        if (reason := _shortage(error)) is None:
            raise
        _say(reason)
        return 2


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of critbatch as its sentence alone, any other as Python shows it."""
    if category is UserWarning and filename.startswith(PACKAGE + os.sep):
        return f"critbatch: {message}\n"
    return PYTHON_FORMAT(message, category, filename, lineno, line)


def _shortage(error: BaseException) -> str | None:
    """What the system has none left of, where that is what the error comes from; it may happen at any import."""
    chain: BaseException | None = error
    while chain is not None:
        number = chain.errno if isinstance(chain, OSError) else None
        if number in (errno.EMFILE, errno.ENFILE) or os.strerror(errno.EMFILE) in str(chain):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"This process may open no more than {limit} files: raise that limit, as by `ulimit -n 1024`."
        if number in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk is full ({chain}): make room there, or give another --out."
        chain = chain.__cause__ or chain.__context__
    return None


def _say(sentence: str) -> None:
    with suppress(OSError):
        print(f"critbatch: {sentence}", file=sys.stderr)


def _prepare_streams() -> None:
    """Where a terminal cannot show a character, it shows its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """What is read by `head` may be closed already."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _hook_before(usual: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Python prints and forgets a Ctrl-C that arrives while it tidies up an object: it is sent again a moment later."""

    def hook(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            threading.Timer(SECONDS_TO_TIDY_UP, _thread.interrupt_main).start()
        else:
            usual(unraisable)

    return hook
