"""The machine as the standard library sees it: what records say of it where torch is not needed."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from critbatch.records import Machine


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


def host_memory_bytes() -> int:
    """Memory of the whole machine, or of this process's control group, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        total = min(total, int(text))
    return total


def processor() -> str:
    """Its name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (
        found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8", errors="replace"))
    ):
        return found.group(1).strip()
    return platform.processor() or platform.machine()
