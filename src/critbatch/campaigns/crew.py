"""Several workers: started, watched, started again when they are killed, stopped together."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from critbatch.arguments import check_count, process_limit
from critbatch.campaigns.memory_kills import ran_out_of_memory
from critbatch.campaigns.order import Order
from critbatch.campaigns.store import Store
from critbatch.campaigns.terms import Key
from critbatch.campaigns.worker import USER_ERROR
from critbatch.campaigns.worker_process import End, WorkerProcess
from critbatch.errors import UserError
from critbatch.runtime.process import Interruption

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_STOP = 60.0
# Where there is a budget: of what is left of it when the workers start.
SHARE_TO_STOP = 0.05
# A run that ends its worker so often would do it for ever.
MOST_DEATHS = 10


class Member(Protocol):
    """A worker, wherever it is. `WorkerProcess` says what its methods do."""

    number: int

    def ended(self) -> End | None: ...

    def waits(self) -> bool: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Crew:
    """So many workers of this machine for one order.

    Args:
        store: open in this process, to see how far they are.
        pause_at: a value of `time.monotonic()` at which they stop, to go on another time.
        tell: called now and then, shows how far they are and returns how many runs are left.
    """

    def __init__(
        self, order: Order, count: int, store: Store, *, pause_at: float | None, tell: Callable[[], int]
    ) -> None:
        check_count(f"workers={count}", count, process_limit())
        self.order, self.count, self.store = order, count, store
        self.pause_at, self.tell = pause_at, tell
        self.deaths: Counter[Key] = Counter()
        # Workers have the same deadline, so they are at their ends when it comes, but for one that is evaluating.
        self.seconds_to_stop = SECONDS_TO_STOP
        if pause_at is not None:
            self.seconds_to_stop = min(SECONDS_TO_STOP, max(2.0, SHARE_TO_STOP * (pause_at - time.monotonic())))

    def work(self) -> None:
        """Until nothing is left, Ctrl-C, or `pause_at`. A worker that is killed is replaced.

        Raises:
            UserError: if a worker fails; its sentence says where what it printed is.
        """
        members: list[Member] = []
        with Interruption(self.pause_at) as stop:
            try:
                members += [self.start(number) for number in range(self.count)]
                while members and not stop.asked:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    left = self.tell()
                    members[:] = [new for member in members if (new := self._look_after(member, left)) is not None]
            finally:
                _stop(members, self.seconds_to_stop)
                self.tell()

    def start(self, number: int) -> Member:
        """A new worker, the one of this number."""
        order = replace(self.order, device=_device_of(self.order.device, number))
        return WorkerProcess(
            order.packed(),
            seconds=self.seconds_left(),
            folder=order.folder,
            number=number,
            threads=order.threads,
            place=Path.cwd(),
            path=sys.path,
        )

    def seconds_left(self) -> float | None:
        return None if self.pause_at is None else max(0.0, self.pause_at - time.monotonic())

    def _look_after(self, member: Member, left: int) -> Member | None:
        """The worker itself, the one in its place, or None if it has done its part."""
        end = member.ended()
        if end is None:
            if left or not member.waits():
                return member
            member.kill()
            return None
        if not end.lost and end.code == 0:
            return None
        if end.code > 0:
            raise UserError(_failure(end))
        claim = self.store.making(end.name)
        if claim is not None and end.for_memory:
            taken = self.store.claim(lambda stock: [claim.key])
            if taken is not None:
                self.store.keep(taken, ran_out_of_memory(self.order, claim.key))
        elif claim is not None and not end.lost:
            self._count_death(claim.key, -end.code)
        return self.start(member.number) if left else None

    def _count_death(self, key: Key, number: int) -> None:
        self.deaths[key] += 1
        if self.deaths[key] >= MOST_DEATHS:
            raise UserError(
                f"The run of {key} has ended its worker {MOST_DEATHS} times by {signal.Signals(number).name}: leave "
                "it out, or run `critbatch train` with its settings to see why."
            )


def _failure(end: End) -> str:
    if end.code == USER_ERROR:
        return end.said
    return f"A worker has failed ({end.said}): mend that and give the command again. All it said is in {end.log}."


def _stop(members: list[Member], seconds: float) -> None:
    """Let all write their checkpoints and end; kill one that does not."""
    for member in members:
        member.stop()
    limit = time.monotonic() + seconds
    try:
        while time.monotonic() < limit and any(member.ended() is None and not member.waits() for member in members):
            time.sleep(0.02)
    except KeyboardInterrupt:
        pass
    for member in members:
        member.kill()


def _device_of(name: str, number: int) -> str:
    """Of several accelerators of one kind, each worker takes the next."""
    kind, _, index = name.partition(":")
    if kind == "cpu" or index or not torch.accelerator.is_available():
        return name
    return f"{kind}:{number % torch.accelerator.device_count()}"
