"""One router of a live model, as every adapter describes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from dpsl.live_hooks import LiveHook

NAMED = "named"
"""The kind of modules that a user names: nothing is known of how their output is used."""

_FIRST_NUMBER = re.compile(r"(?:^|\.)(\d+)(?:\.|$)")


class Scoring(StrEnum):
    """How a router's recorded values become probabilities.

    `PROBABILITIES` are probabilities, or scores that share out to them: the experts are combined with them as they are.
    """

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    PROBABILITIES = "probabilities"


@dataclass(frozen=True)
class Form:
    """How to see the output of a module that returns no logits as that of a router that does.

    Attributes:
        show: module, its positional arguments and its output → (logits [N, K], what experts are combined with,
            chosen experts [N, k]), differentiable.
        put: the output, and the second of these as it is to be → the output with it in its place.
    """

    show: Callable[[Any, Any, Any], tuple[Any, ...]]
    put: Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class FoundRouter:
    """A router and where its logits are.

    Attributes:
        name: path of the module within the model.
        module: the module to hook: its output holds the logits, and what the experts are combined with.
        layer: decoder-layer index.
        experts: K, or None where only a forward pass can tell.
        top_k: experts per token, or None likewise.
        logits_index: place of the logits in the module's output tuple; None: the one tensor of numbers in it
            that is widest.
        kind: the adapter that found it.
        scoring: how logits become probabilities, or None to tell it from the first output.
        form: None where the module itself returns the logits.
    """

    name: str
    module: nn.Module
    layer: int
    experts: int | None
    top_k: int | None
    logits_index: int | None
    kind: str
    scoring: Scoring | None = None
    form: Form | None = None

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False) -> RemovableHandle:
        """Hook the router: `hook(module, arguments, output)` sees logits in the output, whatever the kind.

        Copies of the model are without it.
        """
        form = self.form
        if form is None:
            return self.module.register_forward_hook(LiveHook(hook), prepend=prepend)

        def in_form(module: nn.Module, arguments: Any, output: Any) -> Any:
            shown = form.show(module, arguments, output)
            changed = hook(module, arguments, shown)
            return output if changed is None or changed is shown else form.put(output, changed[1])

        return self.module.register_forward_hook(LiveHook(in_form), prepend=prepend)

    @property
    def place(self) -> str:
        """The router as messages name it."""
        return f"layer {self.layer} ({self.name})"


def layer_of(name: str) -> int | None:
    """The decoder-layer index in a module path: its first number (`model.layers.3.mlp.gate` → 3)."""
    found = _FIRST_NUMBER.search(name)
    return int(found.group(1)) if found else None


def first_int(owners: tuple[Any, ...], names: tuple[str, ...]) -> int | None:
    """The first integer attribute among `names` that any of `owners` has."""
    for owner in owners:
        for name in names:
            value = getattr(owner, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
