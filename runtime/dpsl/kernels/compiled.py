"""Loops compiled from torch operations by torch.compile, one for each function and number of experts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from dpsl.kernels import Kernels

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def using(kernels: Kernels, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, compiled where it is to be.

    In the tensors it takes, tokens come last: one compilation serves any number of them.
    """
    return _compiled(function) if kernels == "compile" else function


@cache
def _compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    # Imported by who compiles, since it takes seconds.
    from torch._dynamo import maybe_mark_dynamic
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    fast = torch.compile(function, options=_OPTIONS)
    failures = 0

    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        nonlocal failures
        if failures < _PATIENCE:
            for argument in args:
                if isinstance(argument, Tensor):
                    maybe_mark_dynamic(argument, argument.ndim - 1)
            try:
                return fast(*args, **kwargs)
            except (TorchDynamoException, InductorError) as error:
                failures += 1
                if failures == _PATIENCE:
                    reason = str(error).splitlines()[0]
                    _log.warning("%s runs uncompiled, as torch.compile failed: %s", function.__name__, reason)
        return function(*args, **kwargs)

    return run


_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    # Unrolled over few experts, each sum would be computed anew wherever it is used.
    "unroll_reductions_threshold": 1,
    # Indices come from clamped numbers.
    "assert_indirect_indexing": False,
    # A pool of compilers would outlive the few functions that there are.
    "compile_threads": 1,
}

_PATIENCE = 2
"""Failures after which a function stays uncompiled: processes that compile at once may read what another still writes."""

_log = logging.getLogger("dpsl")
