"""A request to stop at the next good place: Ctrl-C, or the end of the time."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self


class Interruption:
    """Within `with Interruption() as stop:`, the first Ctrl-C makes `stop.asked` true, the second is KeyboardInterrupt.

    Outside of the main thread, where signals do not arrive, Ctrl-C does nothing. One within another passes it on.

    Args:
        at: a value of `time.monotonic()` from which on it is asked for, too.
    """

    def __init__(self, at: float | None = None) -> None:
        self.at = at
        self._signalled = False
        self._before: Any = None

    @property
    def asked(self) -> bool:
        return self._signalled or (self.at is not None and time.monotonic() >= self.at)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            outer = getattr(self._before, "__self__", None)
            if self._signalled and isinstance(outer, Interruption):
                outer._signalled = True

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
