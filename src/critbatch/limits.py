"""How large a count can be: processes, threads, devices, batch sizes, steps, seeds and whatever else is counted.

Every command and every public call compares its counts with these limits before any work begins, by the names of their
arguments, which are the same everywhere. What starts processes or threads asks again where it starts them. A limit is
far above what anybody needs, and far below what fills a machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critbatch.errors import UserError

PROCESSES_PER_CORE = 8
"""Of workers and of threads: more only wait for each other."""

FEWEST_ALLOWED = 8
"""On a machine of one core, too."""

PROCESS_BYTES = 256 << 20
"""Memory that a process needs at least, torch loaded."""

MOST_DEVICES = 4096
MOST_SEED = 2**32 - 1
MOST_VALUES = 10_000
"""In a list of batch sizes, seeds or devices."""

MOST_DIGITS_SHOWN = 30  # digits


@dataclass(frozen=True)
class Limit:
    """The largest number that is possible, and the smallest where the call itself does not know better.

    Args:
        most: the largest.
        least: the smallest; None where the call says what it needs.
        reason: what the largest follows from, in words.
    """

    most: int
    least: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        reach = f"use {self.most} at most" if self.least is None else f"use {self.least} to {self.most}"
        return f"{reach}: {self.reason}" if self.reason else reach


EXAMPLES, STEPS, RUNS, DEVICES = Limit(10**12), Limit(10**12), Limit(10**5), Limit(MOST_DEVICES)
EIGENVALUES, PIXELS, PRODUCTS, SEED = Limit(10_000), Limit(10_000), Limit(10**6), Limit(MOST_SEED, least=0)

LIMITS: dict[str, Limit] = {
    **dict.fromkeys(("batch_size", "chunk", "current", "examples", "large", "micro_batch_size", "share"), EXAMPLES),
    **dict.fromkeys(("small", "base_batch", "ghost_batch", "largest_batch", "second_batch_size"), EXAMPLES),
    **dict.fromkeys(("small_batch_size", "tokens_per_example"), EXAMPLES),
    **dict.fromkeys(("descent_steps", "every", "iterations", "local_steps", "noise_every", "steps"), STEPS),
    **dict.fromkeys(("draws", "starts", "trials"), RUNS),
    **dict.fromkeys(("largest", "smallest"), EIGENVALUES),
    **dict.fromkeys(("cutout", "padding"), PIXELS),
    "batches": Limit(10**6),
    "copies": Limit(1024),
    "devices_per_node": DEVICES,
    "factor": Limit(10**6),
    "most_products": Limit(PRODUCTS.most, least=1),
    "points": Limit(10_000),
    "seed": SEED,
    "seeds": Limit(1000),
    "subspace": Limit(10_000),
    "trace_products": PRODUCTS,
    # Beyond that of a call, whose models may have the seeds that follow its own.
    "weights_seed": Limit(2**63 - 1),
    "window": Limit(10**7),
}
"""By the name of an argument. Workers and threads, whose limits are those of the machine, are beside it."""

LISTS: dict[str, Limit] = {
    "at": EXAMPLES,
    "batch_sizes": EXAMPLES,
    "claims": Limit(1000),
    "devices": DEVICES,
    "seeds": Limit(MOST_SEED),
}
"""Of each number of a list."""

ONE = {"batch_sizes": "batch_size", "claims": "claim", "seeds": "seed"}
"""What one number of a list is called."""


def host_memory_bytes() -> int:
    """Memory of the whole machine, or of this process's control group, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        total = min(total, int(text))
    return total


def process_limit() -> Limit:
    """Processes that this machine can hold: by its cores, and by its memory."""
    cores, memory = os.cpu_count() or 1, host_memory_bytes()
    most = max(1, min(max(FEWEST_ALLOWED, PROCESSES_PER_CORE * cores), memory // PROCESS_BYTES))
    return Limit(most, reason=f"this machine has {_cores(cores)} and {memory / 2**30:.3g} GiB of memory")


def thread_limit() -> Limit:
    """Threads that torch may use within one operation on this machine."""
    cores = os.cpu_count() or 1
    return Limit(max(FEWEST_ALLOWED, PROCESSES_PER_CORE * cores), reason=f"this machine has {_cores(cores)}")


def _cores(number: int) -> str:
    return "1 core" if number == 1 else f"{number} cores"


def check_count(spelled: str, value: int, limit: Limit) -> None:
    """Refuse a number that is not possible.

    Args:
        spelled: as the user gave it, such as ``--workers 99`` or ``workers=99``.
        value: the number.
        limit: of it.

    Raises:
        UserError: if it is beyond its limit.
    """
    if value > limit.most or (limit.least is not None and value < limit.least):
        raise UserError(f"{spelled} is not possible: {limit}.")


def check_counts(given: Mapping[str, Any], spell: Callable[[str, str], str]) -> None:
    """Refuse counts beyond their limits among the arguments of a command or a call.

    Args:
        given: by name; what is no whole number, and no list of them, is left alone, and so are names without a limit.
        spell: an argument with its value in text, as the user would recognize it.

    Raises:
        UserError: if a number is beyond its limit, or a list too long.
    """
    # The nodes of a Ray cluster have cores of their own.
    elsewhere = given.get("ray") is not None
    for name, value in given.items():
        if _is_count(value):
            limit = _limit_of(name, elsewhere)
            if limit is not None:
                check_count(spell(name, _shown(value)), int(value), limit)
        elif name in LISTS and isinstance(value, Sequence) and not isinstance(value, str):
            if len(value) > MOST_VALUES:
                raise UserError(f"{spell(name, f'of {len(value)} values')} is too long: give {MOST_VALUES} at most.")
            for each in value:
                if _is_count(each):
                    check_count(spell(ONE.get(name, name), _shown(each)), int(each), LISTS[name])


def _limit_of(name: str, elsewhere: bool) -> Limit | None:
    if name in ("workers", "threads") and elsewhere:
        return DEVICES
    if name == "workers":
        return process_limit()
    return thread_limit() if name == "threads" else LIMITS.get(name)


def _is_count(value: Any) -> bool:
    """Whether it is a whole number, also one of numpy or torch."""
    return not isinstance(value, bool) and hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def _shown(value: Any) -> str:
    digits = int(int(value).bit_length() * 0.30103) + 1
    # Python refuses to write numbers of thousands of digits.
    return f"1e{digits - 1}" if digits > MOST_DIGITS_SHOWN else str(int(value))
