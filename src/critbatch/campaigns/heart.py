"""Signs of life of a process while it makes a run, for those on other machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from critbatch.campaigns.presence import SECONDS_BETWEEN_BEATS
from critbatch.errors import UserError


class Heart:
    """Calls `beat` with a number that grows, now and then, within `with`."""

    def __init__(self, beat: Callable[[int], None]) -> None:
        self.beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def _go(self) -> None:
        number = 0
        while not self._over.wait(SECONDS_BETWEEN_BEATS):
            number += 1
            # One that is missed costs nothing; a database that stays away is said when the run is kept.
            with suppress(UserError):
                self.beat(number)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
