"""Starts commands of critbatch at once: a process that has imported all that is heavy, and forks for each command.

    python tests/integration/fork_server.py

It reads one JSON object a line: `words` of the command, the files `out` and `err`, and faults to begin with:
`open_files`, a limit, and `clock_back`, after how many readings of the clock it goes back by an hour. It answers with
the child's process id, and on `{"wait": PID}` with its exit code, which is below 0 for a signal.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import time
from typing import Any


def set_clock_back(after: int) -> None:
    """Let the clock of the day go back by an hour. The monotonic one never does."""
    true_time, readings = time.time, itertools.count()
    time.time = lambda: true_time() - (3600.0 if next(readings) >= after else 0.0)


def limit_open_files(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def run(order: dict[str, Any]) -> None:
    """In the child: never returns."""
    from critbatch.cli.main import main

    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, name in ((1, "out"), (2, "err")):
            handle = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            os.dup2(handle, number)
            os.close(handle)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = ["critbatch", *order["words"]]
        if "clock_back" in order:
            set_clock_back(order["clock_back"])
        if "open_files" in order:
            limit_open_files(order["open_files"])
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:  # before the command's own code
        code = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def serve() -> None:
    import optuna.storages  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import rich.live  # noqa: F401
    import scipy.optimize  # noqa: F401

    answers = sys.stdout
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            status = os.waitpid(order["wait"], 0)[1]
            answer = os.waitstatus_to_exitcode(status)
        elif (answer := os.fork()) == 0:
            run(order)
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    serve()
