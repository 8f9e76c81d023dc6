"""Which device is picked, the type of its sums, and running out of memory in the words of each library."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from critbatch.errors import UserError
from critbatch.measure.empirical_risk import EmpiricalRisk
from critbatch.measure.step_time import speed
from critbatch.recipes import sgd
from critbatch.records.core import Outcome
from critbatch.runtime.device import is_out_of_memory, pick_device
from critbatch.tasks.sampler import training_source
from critbatch.tasks.task import Task
from critbatch.training.evaluation import evaluate
from critbatch.training.trainer import train
from tiny import tiny_task

OUT_OF_MEMORY = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB",
    "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call",
    "CUDA driver error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "Unable to find a valid cuDNN algorithm to run convolution",
    "HIP out of memory. Tried to allocate 1.50 GiB",
    "HIP error: out of memory",
    "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
    "MPS backend out of memory (MPS allocated: 17.9 GiB, other allocations: 200 MiB, max allowed: 18.1 GiB).",
    "Invalid buffer size: 23.44 GiB",
    "XPU out of memory. Tried to allocate 1 GiB",
    "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "NCCL Error 1: unhandled cuda error: Cuda failure 2 'out of memory'",
    "NCCL error in: ProcessGroupNCCL.cpp:1970, unhandled cuda error\nLast error:\nCuda failure 'out of memory'",
    "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nFailed to CUDA calloc async 608 bytes",
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes",
    "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
    "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried",
    "unable to mmap 1024 bytes from file </torch_12_34>: Cannot allocate memory (12)",
    "std::bad_alloc",
]
OTHER = [
    "mat1 and mat2 shapes cannot be multiplied (16x4 and 5x3)",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: device-side assert triggered",
    "CUDA error: too many resources requested for launch",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
    "DataLoader worker (pid 3) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit.",
    "out of resource: shared memory, Required: 131072, Hardware limit: 101376",
    "The memory format option only supports strided tensors",
    "the memory bank of the device is out of memory slots",
    "example 7 is out of memory bank 3",
    "index 9 is out of bounds for dimension 0 with size 4",
    "RESOURCE_EXHAUSTED: quota of requests exceeded",
    "[enforce fail at inline_container.cc:664] . unexpected pos 448 vs 342",
    "Storage size calculation overflowed with sizes=[9223372036854775807]",
]


@pytest.mark.parametrize("message", OUT_OF_MEMORY)
def test_running_out_of_memory_is_known_in_the_words_of_each_library(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))


@pytest.mark.parametrize("message", OTHER)
def test_what_resembles_it_is_not_taken_for_it(message: str) -> None:
    assert not is_out_of_memory(RuntimeError(message))


def test_types_of_errors_and_what_they_were_raised_from_count() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("no words"))
    assert is_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert not is_out_of_memory(OSError(errno.ENOSPC, "No space left on device"))
    assert not is_out_of_memory(ValueError(OUT_OF_MEMORY[0]))
    wrapped = RuntimeError("the compiled step failed")
    wrapped.__cause__ = RuntimeError(OUT_OF_MEMORY[1])
    assert is_out_of_memory(wrapped)
    wrapped.__cause__ = wrapped
    assert not is_out_of_memory(wrapped)


class Full(nn.Module):
    """Runs out of memory above 20 examples in train mode."""

    message = ""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Any:
        if self.training and len(inputs) > 20:
            raise RuntimeError(self.message)
        return self.layer(inputs)


@pytest.mark.parametrize("message", [OUT_OF_MEMORY[3], OUT_OF_MEMORY[-2], "an error of another kind"])
def test_speed_gives_a_bound_and_training_a_record(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Full, "message", message)
    task, plan = replace(tiny_task(), model=Full), sgd(batch_size=32, learning_rate=0.1, epochs=1)
    if message in OUT_OF_MEMORY:
        found = speed(task, [16, 32, 64], seconds_per_point=0.001)
        assert [(point.batch_size, point.fits) for point in found.points] == [(16, True), (32, False)]
        assert train(task, plan).outcome is Outcome.OUT_OF_MEMORY
        return
    with pytest.raises(UserError, match=r"a step with batch_size=32 fails \(RuntimeError: an error of another kind\)"):
        speed(task, [16, 32, 64], seconds_per_point=0.001)
    with pytest.raises(RuntimeError, match="another kind"):
        train(task, plan)


class TooLarge(nn.Linear):
    def to(self, *args: Any, **settings: Any) -> Any:
        raise RuntimeError(OUT_OF_MEMORY[1])


def test_a_model_that_does_not_fit_on_the_device_is_a_sentence() -> None:
    task: Task = replace(tiny_task(), model=lambda: TooLarge(4, 3))
    with pytest.raises(UserError, match=r"The model does not fit into the memory of cpu \(RuntimeError: CUDA error"):
        train(task, sgd(batch_size=8, learning_rate=0.1, epochs=1), device=torch.device("cpu"))


@pytest.mark.parametrize(("accelerator", "picked"), [("mps", "cpu"), ("cuda", "cuda"), (None, "cpu")])
def test_mps_is_picked_only_by_its_name(accelerator: str | None, picked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: accelerator and torch.device(accelerator))
    assert pick_device().type == pick_device("auto").type == picked


def test_evaluations_differ_only_by_rounding_where_sums_are_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task()
    source, model = training_source(task, torch.device("cpu")), task.new_model(0)
    indices = torch.arange(task.examples)
    exact = evaluate(task, model, source, indices)
    monkeypatch.setattr("critbatch.training.evaluation.sum_dtype", lambda device: torch.float32)
    rounded = evaluate(task, model, source, indices)
    assert rounded == pytest.approx(exact, rel=1e-6)


def test_a_measurement_of_the_loss_surface_is_refused_where_there_is_no_float64() -> None:
    task = tiny_task()
    with pytest.raises(UserError, match="needs float64, which the device mps does not have: use the device cpu"):
        EmpiricalRisk(task, task.new_model(0), device=torch.device("mps"))
