"""Devices: choice, threads, synchronization, memory, and recognition of out-of-memory errors."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from critbatch.arguments import check_count, thread_limit
from critbatch.errors import UserError, first_line
from critbatch.records.core import Machine
from critbatch.runtime.host import describe_host, host_memory_bytes

# Devices that are used only when the user names them.
ONLY_BY_NAME = ("mps",)
# Devices that refuse float64.
WITHOUT_FLOAT64 = ("mps",)


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type for sums over many examples on this device: float64, or float32 if the device has no float64.

    >>> sum_dtype(torch.device("cpu")), sum_dtype(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in WITHOUT_FLOAT64 else torch.float64


def require_float64(device: torch.device, what: str) -> None:
    """Refuse a measurement that needs float64 on a device without it.

    Raises:
        UserError: if the device has no float64.
    """
    if device.type in WITHOUT_FLOAT64:
        raise UserError(f"{what} needs float64, which the device {device.type} does not have: use the device cpu.")


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`, or the accelerator if there is one, or the CPU.

    Apple's MPS is used only when its name is given: critbatch was not measured on it.

    Raises:
        UserError: if this machine has no such device.
    """
    if name is None or name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        usable = accelerator is not None and accelerator.type not in ONLY_BY_NAME
        return _own(accelerator) if accelerator is not None and usable else torch.device("cpu")
    try:
        device = _own(torch.device(name))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ValueError, OverflowError):
        raise UserError(f"Device {name!r} is not on this machine: use {usable_devices()}.") from None
    return device


def as_device(device: torch.device | str | None) -> torch.device:
    """The device itself, the device of this name, or for None the accelerator if there is one, else the CPU."""
    return pick_device(device) if device is None or isinstance(device, str) else device


def _own(device: torch.device) -> torch.device:
    """The accelerator of this process, if torchrun started several processes on this machine."""
    if device.type == "cpu" or ":" in str(device) or "LOCAL_RANK" not in os.environ:
        return device
    return torch.device(device.type, int(os.environ["LOCAL_RANK"]))


def usable_devices() -> str:
    names = ["cpu"]
    if torch.accelerator.is_available() and (accelerator := torch.accelerator.current_accelerator()) is not None:
        names.append(accelerator.type)
    return " or ".join(names)


def use_threads(threads: int | None) -> None:
    """Let torch use this many threads within one operation; None leaves it as it is.

    Raises:
        UserError: if `threads` is below 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise UserError(f"threads={threads} is not possible: use 1 or more (this machine has {os.cpu_count()} cores).")
    check_count(f"threads={threads}", threads, thread_limit())
    torch.set_num_threads(threads)


def wait_for(device: torch.device) -> None:
    """Wait until `device` has done all its work, so that a clock read afterwards measures it."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


# Messages by which libraries report, in errors of a general type, that memory has run out.
_OUT_OF_MEMORY = re.compile(
    r"""
    \b(CUDA|HIP|XPU|MPS|NPU|MUSA|HPU|MLU|TPU|GPU|ROCm|SYCL|device|host)\b[^\n]{0,80}\bout\ of\ memory\b(?![ ]+[a-z])
    | \bout\ of\ (device|host|GPU|CUDA)\ memory\b
    | \bFailed\ to\ CUDA\ [cm]alloc\b
    | \b(cudaError|hipError)(MemoryAllocation|OutOfMemory)\b
    | \bCUDA_ERROR_OUT_OF_MEMORY\b
    | \b(CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CURAND|HIPBLAS|HIPSPARSE|HIPSOLVER)_STATUS_(ALLOC|ALLOCATION)_FAILED\b
    | \b(CUFFT|HIPFFT)_ALLOC_FAILED\b
    | \bmiopenStatusAllocFailed\b
    | \brocblas_status_memory_error\b
    | \bUR_RESULT_ERROR_OUT_OF_(DEVICE|HOST)_MEMORY\b
    | \bRESOURCE_EXHAUSTED\b[^\n]*\bout\ of\ memory\b
    | \bUnable\ to\ find\ a\ valid\ cuDNN\ algorithm\b  # after no algorithm got its working memory
    | \bInvalid\ buffer\ size:\ [\d.]+\ [KMGT]i?B  # MPS, for a tensor above what it can hold
    | (DefaultCPUAllocator|alloc_cpu)[^\n]*(can't\ allocate|not\ enough)\ memory
    | \bcan(not|'t)\ allocate\ memory\b
    | \bstd::bad_alloc\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CAUSES = 5


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error, or one of its causes, says that the memory of a device or of the host has run out.

    Values out of range, a full disk, and the shared memory of DataLoader workers or of a GPU block do not count: a
    smaller batch does not help there.
    """
    cause: BaseException | None = error
    for _ in range(_CAUSES):
        if isinstance(cause, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(cause, OSError) and cause.errno == errno.ENOMEM:
            return True
        if isinstance(cause, RuntimeError) and _OUT_OF_MEMORY.search(str(cause)):
            return True
        cause = cause.__cause__ if cause is not None else None
    return False


@contextmanager
def placed_on(device: torch.device, what: str) -> Iterator[None]:
    """Turn running out of memory within `with`, while `what` moves to the device, into a UserError.

    Raises:
        UserError: if it does not fit.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"The {what} does not fit into the memory of {device} ({first_line(error)}): use a smaller one, or another "
            "device."
        ) from error


def memory_bytes(device: torch.device) -> int:
    """Memory of the device in bytes; of the whole machine, or of this process's control group, for a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return host_memory_bytes()


def free_bytes(device: torch.device) -> int:
    """Memory that is free now, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = None
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        available = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8"))
    free = int(available.group(1)) * 1024 if available else memory_bytes(device) // 2
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.is_file() and used.is_file() and (text := limit.read_text(encoding="utf-8").strip()).isdigit():
        free = min(free, int(text) - int(used.read_text(encoding="utf-8")))
    return free


def check_copies(spelled: str, copies: int, bytes_each: int, device: torch.device) -> None:
    """Refuse more copies of something than the device's memory can hold at once, before the first is made.

    Args:
        spelled: The count as the user gave it, such as ``starts=50``.
        copies: Number of copies.
        bytes_each: Bytes of one copy.
        device: Device that holds them.

    Raises:
        UserError: if they take more memory than there is.
    """
    memory = memory_bytes(device)
    if copies * bytes_each > memory:
        raise UserError(
            f"{spelled} is not possible: each takes {bytes_each:,} bytes of {memory / 2**30:.3g} GiB of memory, so use "
            f"{memory // bytes_each} at most."
        )


def describe_machine(device: torch.device) -> Machine:
    return replace(
        describe_host(),
        threads=torch.get_num_threads(),
        memory_bytes=memory_bytes(device),
        device=device.type,
        accelerator=torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        torch=torch.__version__,
    )
