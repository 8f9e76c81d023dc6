"""A worker in its own process: `python -m critbatch.studies.worker_process` reads its job from standard input.

It is a separate module because nothing heavy may be imported before the job has been read. Importing torch takes
seconds. Meanwhile the writer of a long job would block, the time limit would not count, and Ctrl-C would print a
traceback.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from critbatch.errors import UserError

USER_ERROR = 2


def main() -> int:
    """Make runs of a study until none is left, Ctrl-C, or the end of the parent process.

    Errors go to standard output, which is a pipe, since the log may be on a full disk. All other output goes to the
    log.
    """
    # Ray starts its processes with SIGINT ignored, as a shell does for background processes.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    messages = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        name, seconds, module_path, job = pickle.load(sys.stdin.buffer)
        pause_at = None if seconds is None else time.monotonic() + seconds
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        sys.path += [folder for folder in module_path if folder not in sys.path and Path(folder).exists()]
        from critbatch.studies.worker import run_worker

        run_worker(job, name, pause_at)
    except KeyboardInterrupt:
        return 0
    except UserError as error:
        os.write(messages, str(error).encode())
        return USER_ERROR
    except Exception as error:
        os.write(messages, traceback.format_exception_only(error)[-1].strip().encode())
        with suppress(OSError):
            traceback.print_exc()
        return 1
    return 0


def _stop_with_parent() -> None:
    """Send SIGINT to this process when standard input closes, which is when the parent process has ended."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
