"""Loops compiled from torch operations by torch.compile, one for each function and number of experts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeAlias, TypeVar

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

    fast = torch.compile(function, options=compiler_options())
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


def compiler_options() -> dict[str, Option]:
    """Inductor's options, the width of the CPU's vectors among them.

    Inductor's cache of generated code knows each graph by these options but not by the CPU: loops that were cut for
    another width, by a machine that shares the cache, are built for this one all the same and read past their arrays.
    """
    width = _VECTOR_BITS.get(torch.backends.cpu.get_cpu_capability())
    return _OPTIONS if width is None else {**_OPTIONS, "cpp.simdlen": width}


Option: TypeAlias = str | int | bool | Callable[..., object]

_OPTIONS: dict[str, Option] = {
    # Unrolled over few experts, each sum would be computed anew wherever it is used.
    "unroll_reductions_threshold": 1,
    # Indices come from clamped numbers.
    "assert_indirect_indexing": False,
    # A pool of compilers would outlive the few functions that there are.
    "compile_threads": 1,
}

_VECTOR_BITS = {"DEFAULT": 0, "AVX2": 256, "AVX512": 512}
"""By what torch calls the CPU; 0: none are used."""

_PATIENCE = 2
"""Failures after which a function stays uncompiled: processes that compile at once may read what another still writes."""

_log = logging.getLogger("dpsl")
