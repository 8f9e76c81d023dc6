"""Read by every process of `sweep_kills.py` when it begins: makes it end itself, by SIGKILL, within a write.

A file `armed` in the folder $CRITBATCH_SHOTS names a kind of write. The process that comes to such a write and takes
the file away first dies there. Checkpoints are written all the time, so that this is often the case.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

CHANCE = 0.2  # at each write that could be the one
CHECKPOINT_SECONDS = 0.2
OF_ALL = ("half a checkpoint", "before a checkpoint takes its place")
OF_SQL = (*OF_ALL, "before a statement", "before a commit")


class Gun:
    """Args: folder: where the driver leaves its orders, and finds who died."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def aims_at(self, kind: str) -> bool:
        """Whether this process is to die in this write."""
        try:
            if (self.folder / "armed").read_text(encoding="utf-8") != kind or random.random() > CHANCE:
                return False
            (self.folder / "armed").rename(self.folder / f"taken-{os.getpid()}")
        except OSError:
            return False
        return True

    def fire(self, kind: str, what: str) -> None:
        (self.folder / "fired").write_text(f"{os.getpid()} {kind} {what}", encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)


def install(gun: Gun) -> None:
    from sqlalchemy import Engine, event

    import critbatch.training.trainer

    critbatch.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = CHECKPOINT_SECONDS
    replace = Path.replace

    def statement_hook(kind: str) -> Any:
        def hook(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            if statement.lstrip().upper().startswith(("INSERT", "UPDATE")) and gun.aims_at(kind):
                gun.fire(kind, " ".join(statement.split()[:3]))

        return hook

    def replace_or_die(self: Path, target: Path) -> Path:
        if ".pt." in self.name and self.name.endswith(".part"):
            if gun.aims_at("half a checkpoint"):
                os.truncate(self, self.stat().st_size // 2)
                gun.fire("half a checkpoint", "")
            if gun.aims_at("before a checkpoint takes its place"):
                gun.fire("before a checkpoint takes its place", "")
        return replace(self, target)

    event.listen(Engine, "before_cursor_execute", statement_hook("before a statement"))
    event.listen(Engine, "after_cursor_execute", statement_hook("before a commit"))
    Path.replace = replace_or_die  # type: ignore[method-assign, assignment]


if os.environ.get("CRITBATCH_SHOTS"):
    install(Gun(Path(os.environ["CRITBATCH_SHOTS"])))
