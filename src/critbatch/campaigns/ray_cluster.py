"""The door to a Ray cluster: connected to and left, with what can go wrong said in one sentence."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from critbatch.errors import UserError

FORMS = "auto, local, host:port, or ray://host:port"
# Ray itself waits for minutes.
SECONDS_TO_ANSWER = 10.0


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Within, the module `ray`, connected to the cluster. A connection that was there before is used and left as it is.

    Raises:
        UserError: if Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(f"--ray needs the package ray ({error}): pip install 'critbatch[ray]'.") from error
    if ray.is_initialized():
        yield ray
        return
    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        settings["include_dashboard"] = False
    else:
        _knock(address)
    try:
        ray.init(address=address, **settings)
    except (ValueError, RuntimeError, OSError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise UserError(
            f"The Ray cluster {address!r} cannot be used ({first}): start one with `ray start --head`, and give its "
            f"address as {FORMS}."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def refuse_if_too_small(ray: Any, address: str, *, cores: float, gpus: float) -> None:
    """Raise a UserError if no node of the cluster has what one worker wants, busy or not."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0.0) >= cores and node.get("GPU", 0.0) >= gpus for node in nodes):
        there = "; ".join(f"{node.get('CPU', 0.0):g} and {node.get('GPU', 0.0):g}" for node in nodes)
        raise UserError(
            f"A worker wants {cores:g} cores and {gpus:g} GPUs of one node of the Ray cluster {address!r}, whose nodes "
            f"have {there}: ask for less (--threads, --gpus-per-worker), or start a node."
        )


def _knock(address: str) -> None:
    """Raise a UserError if nobody listens at a `host:port`."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(
            f"The Ray cluster {address!r} does not answer ({error.strerror or error}): start one with `ray start "
            f"--head`, and give its address as {FORMS}."
        ) from error
