"""Hooks that stay with their model: a copy of it, or a saved one, runs as if it had been detached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, SupportsIndex

from torch._compile import _disable_dynamo

from dpsl.errors import AttachError


class LiveHook:
    """A hook on a module, of any kind. Copied or pickled it becomes one that does nothing."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook = hook

    # torch.compile breaks its graph here and runs the hook as it stands. The public torch.compiler.disable would import
    # the compiler for everybody.
    @_disable_dynamo
    def __call__(self, *seen: Any) -> Any:
        """What the hook returns."""
        return self._hook(*seen)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[Any, ...]:
        """A callable of the standard library that takes anything and returns None: it loads where dpsl is not."""
        return getattr, (nullcontext(), "__exit__")


class LiveLink:
    """What holds hooks on a model: it cannot be copied, for nothing would call the copy."""

    def __reduce_ex__(self, _protocol: SupportsIndex) -> Any:
        name = type(self).__name__
        raise AttachError(
            f"a {name}",
            "it is bound to the model that it is attached to, and cannot be copied or pickled",
            "copy or save the model, which leaves the hooks behind, and attach to it anew",
        )
