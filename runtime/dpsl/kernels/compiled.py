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
    fast = torch.compile(function, options=_OPTIONS)

    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if function in _failed:
            return function(*args, **kwargs)
        for argument in args:
            if isinstance(argument, Tensor):
                torch._dynamo.maybe_mark_dynamic(argument, argument.ndim - 1)
        try:
            return fast(*args, **kwargs)
        except _CANNOT as error:
            _failed.add(function)
            _log.warning("torch.compile failed, so dpsl runs uncompiled: %s", str(error).splitlines()[0])
            return function(*args, **kwargs)

    return run


_OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    # Unrolled over few experts, each sum would be computed anew wherever it is used.
    "unroll_reductions_threshold": 1,
    # A pool of compilers would outlive the few functions that there are.
    "compile_threads": 1,
}

_CANNOT = (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)

_failed: set[Callable[..., object]] = set()

_log = logging.getLogger("dpsl")
