"""What a worker does until nothing is left: ask which run is needed next, make it, keep it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from critbatch.campaigns.forecast import best_of_each_size, forecast
from critbatch.campaigns.halving import Report, hopeless
from critbatch.campaigns.making import Maker
from critbatch.campaigns.order import Order
from critbatch.campaigns.search import choose
from critbatch.campaigns.stock import Stock
from critbatch.campaigns.store import Claim, Store
from critbatch.campaigns.terms import Brief, Key
from critbatch.records.core import Outcome, Run
from critbatch.runtime.process import Interruption
from critbatch.runtime.progress import Display

# Until the next look, where all that is left is being made by others.
SECONDS_TO_WAIT = 0.5


def work(order: Order, store: Store, *, pause_at: float | None, show: Display) -> None:
    """Make runs until none is left, Ctrl-C, or `pause_at`, a value of `time.monotonic()`.

    Where others make the last ones it waits for them, and takes over what one of them leaves.
    """
    question, maker = order.question, order.maker()
    examples = {size: length * maker.task.examples for size, length in order.lengths.items()}
    with Interruption(pause_at) as stop:
        while not stop.asked:
            seen: list[Stock] = []

            def wanted(stock: Stock, seen: list[Stock] = seen) -> list[Key]:
                seen.append(stock)
                return choose(question, stock).keys

            claim = store.claim(wanted)
            stock = seen[-1]
            left = tell(order, stock, examples, show, trying=claim.key if claim is not None else None)
            if claim is None:
                if left == 0:
                    return
                time.sleep(SECONDS_TO_WAIT)
                continue
            run = store.make(claim, partial(_make, maker, claim, store, pause_at, show))
            if run.outcome is Outcome.INTERRUPTED:
                return


def _make(maker: Maker, claim: Claim, store: Store, pause_at: float | None, show: Display, checkpoint: Path) -> Run:
    report = _reporter(claim, store) if maker.question.stops_early else None
    return maker.make(claim.key, checkpoint, pause_at=pause_at, progress=show.watch, report=report)


def _reporter(claim: Claim, store: Store) -> Report:
    """Notes how a run stands, and compares it with the others of its batch size and seed."""

    def report(part: int, standing: float) -> bool:
        if part in store.notes([claim])[claim.trial]:
            return False  # it went on from here before it was broken off
        store.note(claim, part, standing)
        peers = store.peers(claim)
        notes = store.notes([claim, *peers])
        return hopeless(notes.pop(claim.trial), {trial: notes[trial] for trial in sorted(notes)})

    return report


def tell(order: Order, stock: Stock, examples: Mapping[int, float], show: Display, *, trying: Key | None) -> int:
    """Show how far the study is. Returns how many runs are not at their end."""
    choice = choose(order.question, stock)
    made = {key: stock.finished[key] for key in choice.keys if key in stock.finished}
    missing = [key for key in choice.keys if key not in made]
    left = len(missing) + choice.later
    show.update(
        trying=str(trying) if trying is not None else "",
        part=0.0 if trying is not None else None,
        done=len(made),
        total=len(made) + left,
        running=len(stock.running),
        best=_best_of(made),
        left=forecast(made, [key.batch_size for key in missing], examples=examples, workers=max(1, len(stock.running))),
    )
    return left


def _best_of(made: Mapping[Key, Brief]) -> str:
    """At each batch size, in words."""
    told = [
        f"{size}: {brief.steps_to_target:.0f} steps at {key.learning_rate:g}"
        if brief.crossing_seconds is not None
        else f"{size}: loss {brief.loss:.3g} at {key.learning_rate:g}"
        for size, (key, brief) in best_of_each_size(made).items()
    ]
    return ", ".join(told)
