"""Workers on the nodes of a Ray cluster: each in an actor that holds its cores and GPUs, replaced if its node dies."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from critbatch.campaigns.crew import Crew, Member
from critbatch.campaigns.order import Order
from critbatch.campaigns.ray_cluster import connected, refuse_if_too_small
from critbatch.campaigns.ray_seat import Seat
from critbatch.campaigns.store import Store
from critbatch.campaigns.worker_process import End
from critbatch.errors import UserError


class RayCrew(Crew):
    """So many workers for one order on a Ray cluster. Those that find no room there wait for it.

    The study's folder and its database are looked for under the same paths and URL on all nodes.

    Args:
        address: of the cluster: "auto", "local", `host:port` or `ray://host:port`.
        gpus: for each worker, also a part of one. None is one where the order's device is CUDA, else none.
        others: as those of `Crew`.
    """

    def __init__(
        self,
        order: Order,
        count: int,
        store: Store,
        *,
        pause_at: float | None,
        tell: Callable[[], int],
        address: str,
        gpus: float | None,
    ) -> None:
        order = replace(order, folder=order.folder.absolute())
        super().__init__(order, count, store, pause_at=pause_at, tell=tell)
        self.address = address
        self.cores = float(order.threads or 1)
        self.gpus = gpus if gpus is not None else float(order.device.startswith("cuda"))
        self._parcel: Any = None

    def work(self) -> None:
        """As that of `Crew`.

        Raises:
            UserError: as there; and if Ray is not installed, the cluster does not answer, or no node of it is large
                enough for one worker.
        """
        packed = self.order.packed()
        with connected(self.address) as ray:
            refuse_if_too_small(ray, self.address, cores=self.cores, gpus=self.gpus)
            self._parcel = ray.put(packed)
            super().work()

    def start(self, number: int) -> Member:
        settings = {
            "seconds": self.seconds_left(),
            "folder": self.order.folder,
            "number": number,
            "threads": self.order.threads,
            "place": Path.cwd(),
            "path": sys.path,
        }
        return RayMember(number, self._parcel, settings, cores=self.cores, gpus=self.gpus)


class RayMember:
    """A worker on whatever node had room for it. It is asked without waiting: its node may be gone."""

    def __init__(self, number: int, parcel: Any, settings: dict[str, Any], *, cores: float, gpus: float) -> None:
        import ray

        self.number, self.name = number, ""
        self._end: End | None = None
        seat: Any = ray.remote(Seat)
        self._actor = seat.options(num_cpus=cores, num_gpus=gpus).remote()
        self._answer = self._actor.begin.remote(parcel, settings)

    def ended(self) -> End | None:
        import ray

        if self._end is None and ray.wait([self._answer], timeout=0)[0]:
            answer = self._heard()
            if isinstance(answer, str):
                self.name = answer
            elif answer is not None:
                self._end = answer
                self.kill()
            if self._end is None:
                self._answer = self._actor.ended.remote()
        return self._end

    def waits(self) -> bool:
        return not self.name and self._end is None

    def stop(self) -> None:
        if self._end is None and self.name:
            self._actor.stop.remote()

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)

    def _heard(self) -> str | End | None:
        import ray
        from ray.exceptions import ActorUnavailableError, RayActorError, RayError

        try:
            answer: str | End | None = ray.get(self._answer)
        except ActorUnavailableError:
            return None
        except RayActorError as error:
            if not self.name:
                raise UserError(f"Ray could not start a worker ({_reason(error)}): mend that on its node.") from error
            return End(self.name, lost=True)
        except RayError as error:
            cause = getattr(error, "cause", None)
            raise UserError(f"A worker could not begin ({_reason(cause or error)}): mend that on its node.") from error
        return answer


def _reason(error: BaseException) -> str:
    """The last line is what was raised; those before it are where."""
    return ([line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__])[-1]
