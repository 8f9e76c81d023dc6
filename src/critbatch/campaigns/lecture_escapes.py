"""From where full-batch descent stopped: surfaces whose answer is known, and some examples of the task itself."""

from __future__ import annotations

from pathlib import Path

from critbatch.campaigns.lecture_jobs import Part, make_escape
from critbatch.campaigns.pool import Job

SURFACES = ("surface-saddle", "surface-double-well", "surface-two-weights")
SURFACE = {"starts": 50, "learning_rate": 0.1, "descent_steps": 1000, "steps": 1000}
# With none of 40 starts got on at either size, the interval of the difference lies below a tenth.
OWN = {"starts": 40, "learning_rate": 0.1, "descent_steps": 1500, "steps": 500, "batch_sizes": (4, 16)}
# All starts move at once: a full batch of more would take too long.
EXAMPLES = 128


def escapes(own: Part, *, name: str, examples: int, folder: Path, key: str, command: str) -> list[Job]:
    """The task's may fail, where its model cannot be vectorized.

    Args:
        own: the task, of `examples`.
        key: of its model and data.
    """
    given = {"folder": folder, "command": command}
    known = [
        Job(surface, make_escape, {**given, "part": Part(surface), "key": surface, "settings": SURFACE})
        for surface in SURFACES
    ]
    part = Part(own.task, min(EXAMPLES, examples))
    return [
        *known,
        Job(f"escapes of {name}", make_escape, {**given, "part": part, "key": key, "settings": OWN}, may_fail=True),
    ]
