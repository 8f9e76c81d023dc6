"""A worker as a process of its own: `python -m critbatch.campaigns.worker`, its order on standard input."""

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
    """Take part in a study until nothing is left, Ctrl-C, or the end of who started it.

    What goes wrong is said on standard output, which is a pipe: the log may lie on a disk that is full. Whatever else
    is printed goes to the log.
    """
    # Ray starts its processes deaf to Ctrl-C, as a shell does with those in its background.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    voice = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        # Before torch is there, which takes its time: whoever writes an order that is long waits for its reader.
        name, seconds, path, order = pickle.load(sys.stdin.buffer)
        pause_at = None if seconds is None else time.monotonic() + seconds
        threading.Thread(target=_end_with_the_master, daemon=True).start()
        sys.path += [folder for folder in path if folder not in sys.path and Path(folder).exists()]
        _take_part(order, name, pause_at)
    except KeyboardInterrupt:
        return 0
    except UserError as error:
        os.write(voice, str(error).encode())
        return USER_ERROR
    except Exception as error:
        os.write(voice, traceback.format_exception_only(error)[-1].strip().encode())
        with suppress(OSError):
            traceback.print_exc()
        return 1
    return 0


def _take_part(packed: bytes, name: str, pause_at: float | None) -> None:
    from critbatch.campaigns.order import Order
    from critbatch.campaigns.presence import host
    from critbatch.campaigns.shelf import MACHINE
    from critbatch.campaigns.store import Store
    from critbatch.campaigns.work import work
    from critbatch.runtime.device import describe_machine, pick_device, use_threads
    from critbatch.runtime.progress import Display

    order = pickle.loads(packed)
    assert isinstance(order, Order)
    with Store.open(order.folder, order.terms, url=order.url, name=name) as store:
        if store.told() is None:
            raise UserError(
                f"The machine {host()} finds another database at {store.where} than the sweep was started with: give "
                "--storage with the URL of one that all machines reach, or an --out on a disk that they share."
            )
        use_threads(order.threads)
        store.agree(MACHINE, describe_machine(pick_device(order.device)).to_json())
        work(order, store, pause_at=pause_at, show=Display())


def _end_with_the_master() -> None:
    """Standard input ends when the process that holds its other end does, however that ends."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
