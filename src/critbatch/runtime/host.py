"""Describes the machine with the standard library alone, for commands that do not need torch."""

from __future__ import annotations

import os
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path

from critbatch.arguments import host_memory_bytes as host_memory_bytes
from critbatch.records.core import Machine


def describe_host() -> Machine:
    """This machine, without an accelerator and without torch."""
    from critbatch.version import __version__

    return Machine(
        processor=processor(),
        cores=os.cpu_count() or 1,
        threads=1,
        memory_bytes=host_memory_bytes(),
        device="cpu",
        accelerator="",
        system=f"{platform.system()} {platform.release()}",
        python=".".join(str(part) for part in sys.version_info[:3]),
        torch="",
        critbatch=__version__,
    )


def processor() -> str:
    """The name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (
        match := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8", errors="replace"))
    ):
        return match.group(1).strip()
    return platform.processor() or platform.machine()


def processor_seconds() -> tuple[float, float] | None:
    """Seconds that the threads of this process ran, and that they were ready to run while a processor did other work.

    As Linux counts them in `/proc/self/task/*/schedstat`. None on other systems.
    """
    ran = waited = 0
    try:
        for task in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
                first, second, _ = (task / "schedstat").read_text(encoding="utf-8").split()
                ran, waited = ran + int(first), waited + int(second)
    except (OSError, ValueError):
        return None
    return (ran / 1e9, waited / 1e9) if ran else None


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
