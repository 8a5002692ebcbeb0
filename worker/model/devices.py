"""The devices that torch runs on: which one, its dtype and threads, its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.errors import ConfigurationError, DeviceLost, OutOfMemory

# What torch and oneDNN say on a CPU where there is no memory, besides raising a MemoryError.
NO_MEMORY = ("can't allocate memory", "could not create a primitive", "bad_alloc")


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` is CUDA where there is one, else the CPU.

    Raises `ConfigurationError` for a device that is not here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigurationError(f"the device {name!r} can't be used: {reason}") from error
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a name; `auto` is the fastest that keeps parity: float16 on CUDA, else float32.

    bfloat16 does not keep it, whatever else is float32: of the ten nearest of 1,000 real DOIs
    in 20,000, 98.7 % stay the same, and 99 % shall.
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    return torch.float16 if device.type == "cuda" else torch.float32


def gpu_memory() -> Iterator[tuple[str, str, int]]:
    """Each CUDA device that torch has in use: total, free, and what this process holds, in bytes.

    Nothing where no model is on one: to ask for another would take memory there.
    """
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info(device)
    for kind, size in (
        ("total", total),
        ("free", free),
        ("held", torch.cuda.memory_reserved(device)),
    ):
        yield f"cuda:{device}", kind, size


def threads() -> int:
    """How many threads torch would use, as the process is set up."""
    return torch.get_num_threads()


def use_threads(count: int = 1) -> None:
    """Let torch's operators, called from this thread, run in so many threads."""
    torch.set_num_threads(count)


def to_host(vectors: Tensor) -> NDArray[np.float32]:
    """Vectors as an array in this machine's memory, waited for; raises as the pass does."""
    with vendor_errors():
        array: NDArray[np.float32] = vectors.cpu().numpy()
        return array


@contextmanager
def vendor_errors() -> Iterator[None]:
    """Translate torch's errors: `OutOfMemory`, `DeviceLost`; others pass."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_first_line(error)) from error
    except torch.AcceleratorError as error:
        raise DeviceLost(_first_line(error)) from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in NO_MEMORY):
            raise
        raise OutOfMemory(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0] or type(error).__name__
