"""What the work runs on: torch operations one by one, loops compiled from them, or Triton on a GPU.

All give the same result to rounding. `chosen` picks for each call:

- `triton` on CUDA where Triton can be imported, with histogram ranks and float32 tables;
- `compile` on the CPU for large calls, where a C++ compiler exists. The first call of a kind waits for the
  compiler (5 to 20 seconds; later processes find its cache), and every further one is two to three times faster;
- `torch` otherwise.

The environment variable DPSL_KERNELS names one of them for every call that it can serve; it is also how to keep
the compiler out.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Literal, get_args

from torch import Tensor

Kernels = Literal["torch", "compile", "triton"]

VARIABLE = "DPSL_KERNELS"

WORTHWHILE = 2**19
"""Tokens × experts of a call from which compiling pays within some thousand calls."""


def chosen(logits_NK: Tensor, *, tables: bool, histogram: bool, learned: bool) -> Kernels:
    """The kernels for one call.

    Args:
        logits_NK: what the call is about.
        tables: the marginals are float32 tables, not exact values.
        histogram: ranks are by histogram.
        learned: α gets a gradient.

    Raises:
        ValueError: DPSL_KERNELS names none, or Triton where it cannot run.
    """
    wanted = os.environ.get(VARIABLE, "auto")
    if wanted not in ("auto", *get_args(Kernels)):
        raise ValueError(f"{VARIABLE} must be auto, torch, compile or triton, not {wanted!r}")
    if not tables or not logits_NK.numel() or wanted == "torch":
        return "torch"
    on_gpu = logits_NK.device.type == "cuda"
    if wanted == "triton" and not (_has_triton() and (on_gpu or os.environ.get("TRITON_INTERPRET") == "1")):
        raise ValueError(
            f"{VARIABLE}=triton needs the package triton, and logits on a GPU or TRITON_INTERPRET=1; these are on "
            f"{logits_NK.device.type}: leave it at auto"
        )
    if histogram and not learned and (wanted == "triton" or (wanted == "auto" and on_gpu and _has_triton())):
        return "triton"
    large = logits_NK.numel() >= WORTHWHILE and not on_gpu and _has_compiler()
    return "compile" if wanted == "compile" or (wanted == "auto" and large) else "torch"


def _has_triton() -> bool:
    return find_spec("triton") is not None


def _has_compiler() -> bool:
    return shutil.which(os.environ.get("CXX", "g++")) is not None
