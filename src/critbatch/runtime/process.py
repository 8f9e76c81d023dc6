"""Random numbers: every consumer draws from a stream of its own, so that none changes what another one draws.

- Weights of a new model: by the seed (`Task.new_model`).
- Order of the examples of an epoch: by the seed and the epoch (`critbatch.tasks.sampler.epoch_order`).
- Augmentation: by the seed and the epoch (`critbatch.tasks.augmentation.epoch_draws`).
- What a Dataset draws while it makes a batch: by the seed, the epoch and the indices (`critbatch.tasks.data`).
- What the model draws in training, such as dropout: a `RandomState` of the run, of this process, and of each copy.
- What is drawn in an evaluation: the same at each evaluation.

A stream is the state of torch's generators (CPU and the run's device), of `numpy.random` and of `random`. The caller's
state stays as it was.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator, set_bit_generator
from torch import Tensor


class Interruption:
    """A request to stop: within `with Interruption() as stop:`, the first Ctrl-C makes `stop.asked` true.

    The second Ctrl-C raises KeyboardInterrupt. Outside the main thread, which alone gets signals, Ctrl-C has no effect.
    A nested Interruption passes Ctrl-C on to the outer one.

    Args:
        at: Value of `time.monotonic()` from which `stop.asked` is true as well.
    """

    def __init__(self, at: float | None = None) -> None:
        self.at = at
        self._signalled = False
        self._previous_handler: Any = None

    @property
    def asked(self) -> bool:
        return self._signalled or (self.at is not None and time.monotonic() >= self.at)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)
            outer = getattr(self._previous_handler, "__self__", None)
            if self._signalled and isinstance(outer, Interruption):
                outer._signalled = True

    def _signal(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True


# They replace the generator of `numpy.random`: reading or writing its state takes 0.1 ms, a swap 1 microsecond.
_RUN_GENERATOR, _BATCH_GENERATOR = np.random.MT19937(0), np.random.MT19937(0)


class RandomState:
    """A random state that can replace the caller's for a while.

    Args:
        seed: Initial seed.
        rank: Rank of the process; each rank draws its own numbers.
        device: Device whose generator belongs to the state, beside that of the CPU.
    """

    def __init__(self, seed: int, device: torch.device, *, rank: int = 0) -> None:
        self._devices = [device]
        own = seed if rank == 0 else int(np.random.SeedSequence((seed, rank)).generate_state(1)[0])
        with seeded(own, self._devices):
            self.states = self._read()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Draw from this state, and advance it, within `with`; the caller's state is restored afterwards."""
        with _preserved_state(self._devices):
            torch.set_rng_state(self.states["torch"])
            for device in filter(_has_generator, self._devices):
                _set_device_state(device, self.states[device.type])
            words, place, has_normal, normal = self.states["numpy"]
            np.random.set_state(("MT19937", words.numpy().astype(np.uint32), place, has_normal, normal))
            random.setstate(self.states["python"])
            try:
                yield
            finally:
                self.states = self._read()

    def restore(self, states: Any) -> None:
        """Continue from the `states` of a checkpoint. States of another kind of device are ignored.

        Earlier checkpoints hold a list: the state of torch on the CPU, then that of the GPU.
        """
        if isinstance(states, list):
            states = dict(zip(("torch", "cuda"), states, strict=False))
        for name in self.states.keys() & states.keys():
            state = states[name]
            if name == "numpy":
                state = (state[0].cpu(), *state[1:])
            self.states[name] = state.cpu() if isinstance(state, Tensor) else state

    def _read(self) -> dict[str, Any]:
        numbers: Any = np.random.get_state()
        # Processes cannot send each other tensors of uint32.
        words = torch.from_numpy(numbers[1].astype(np.int64))
        states: dict[str, Any] = {
            "torch": torch.get_rng_state(),
            # Plain values and tensors: a checkpoint is loaded without running any code.
            "numpy": (words, int(numbers[2]), int(numbers[3]), float(numbers[4])),
            "python": random.getstate(),
        }
        return states | {device.type: _device_state(device) for device in self._devices if _has_generator(device)}


@contextmanager
def seeded(seed: int, devices: Sequence[torch.device] = ()) -> Iterator[None]:
    """Seed all generators within `with`; the caller's state is restored afterwards.

    Args:
        devices: Devices whose generators are seeded, beside that of the CPU.
    """
    with _preserved_state(devices):
        torch.default_generator.manual_seed(seed)
        for device in filter(_has_generator, devices):
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            else:
                torch.get_device_module(device).manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield


@contextmanager
def seeded_on_cpu(seed: int) -> Iterator[None]:
    """As `seeded`, in 60 microseconds. The second half of a pair of normal numbers of `numpy.random` is lost outside:
    only for use within a state that is put in place."""
    torch_state, python_state, generator = torch.get_rng_state(), random.getstate(), get_bit_generator()
    set_bit_generator(_BATCH_GENERATOR)
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        yield
    finally:
        set_bit_generator(generator)
        random.setstate(python_state)
        torch.set_rng_state(torch_state)


@contextmanager
def _preserved_state(devices: Sequence[torch.device]) -> Iterator[None]:
    """Restore the caller's random state afterwards."""
    torch_state, python_state, generator = torch.get_rng_state(), random.getstate(), get_bit_generator()
    numpy_state: Any = np.random.get_state(legacy=False)
    device_states = [(device, _device_state(device)) for device in devices if _has_generator(device)]
    set_bit_generator(_RUN_GENERATOR)
    try:
        yield
    finally:
        set_bit_generator(generator)
        # A caller's generator of another kind was not touched, and cannot be set so.
        if numpy_state["bit_generator"] == "MT19937":
            np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_rng_state(torch_state)
        for device, state in device_states:
            _set_device_state(device, state)


def _has_generator(device: torch.device) -> bool:
    """Whether the device has a generator of its own whose state can be read."""
    return device.type in ("cuda", "xpu", "mps")


def _device_state(device: torch.device) -> Tensor:
    module = torch.get_device_module(device)
    state = module.get_rng_state() if device.type == "mps" else module.get_rng_state(device)
    assert isinstance(state, Tensor)
    return state


def _set_device_state(device: torch.device, state: Tensor) -> None:
    module = torch.get_device_module(device)
    if device.type == "mps":
        module.set_rng_state(state)
    else:
        module.set_rng_state(state, device)
