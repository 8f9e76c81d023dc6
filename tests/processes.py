"""Several real processes on gloo, each of which runs the same lines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from textwrap import indent

TESTS = Path(__file__).parent
HEAD = """
import gc, os, sys, traceback
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
out = Path(sys.argv[2])
rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.distributed.init_process_group("gloo")

def main():
"""
# Leaves at once: threads of gloo that are alive still may abort a process on its way out.
TAIL = """
try:
    main()
    gc.collect()
    torch.distributed.destroy_process_group()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
os._exit(0)
"""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(lines: str, out: Path, *, count: int = 2) -> list[subprocess.Popen[str]]:
    """Start `count` processes with `rank`, `world` and the folder `out` at hand."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": str(count)}
    return [
        subprocess.Popen(
            [sys.executable, "-c", HEAD + indent(lines, "    ") + TAIL, str(TESTS), str(out)],
            env={**os.environ, "OMP_NUM_THREADS": "1", **meeting, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def ends(workers: list[subprocess.Popen[str]]) -> list[str]:
    """What each said on standard error, when all have ended."""
    return [worker.communicate(timeout=300)[1] for worker in workers]


def run(lines: str, out: Path, *, count: int = 2) -> None:
    """Start them, and hold that all end well."""
    workers = start(lines, out, count=count)
    said = ends(workers)
    assert [worker.returncode for worker in workers] == [0] * count, "\n".join(said)
