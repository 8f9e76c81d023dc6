"""The command line. It imports nothing heavy: `critbatch --help` answers at once."""

from __future__ import annotations

import os
import sys

from critbatch.cli import advise, commands, export, fit, lecture, minima, recipes, scale, stuck, sweep, watch
from critbatch.cli.app import app
from critbatch.errors import UserError

INTERRUPTED = 130
# Imported so that their commands are known.
COMMANDS = (advise, commands, recipes, sweep, export, fit, scale, minima, stuck, lecture, watch)


def main() -> None:
    """Run the command line: exit code 0, 2 for input that cannot be used, 130 after Ctrl-C."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        sys.exit(_run())
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    # One of many processes leaves at once: threads of gloo that are alive still may abort it on its way out.
    os._exit(code)


def _run() -> int:
    try:
        app()
    except UserError as error:
        print(f"critbatch: {error}", file=sys.stderr)
        return 2
    except SystemExit as end:
        # Typer makes one of a KeyboardInterrupt, and says nothing.
        if end.code == INTERRUPTED:
            print("critbatch: stopped. What was learned is kept: the same command goes on from there.", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0
