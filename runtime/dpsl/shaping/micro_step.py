"""One forward pass of the model, from its routers' outputs to the end of its backward pass.

Routers show what they saw as they run; when the last has run, the gradients of all are computed at once, unscaled. A
recomputation under checkpointing takes them from here: it is identical by construction, and no rank starts a
collective inside its backward pass. Nothing but the autograd graph and the hook on the loss holds a micro-step, so its
memory goes with the graph's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from dpsl.errors import AttachError
from dpsl.shaping.given import Given
from dpsl.shaping.token_classes import TokenClasses

OnEnd: TypeAlias = "Callable[[MicroStep, Sequence[Any]], None]"

FINGERPRINT_ROWS = 8
"""Tokens of a layer by whose logits its recomputation is recognised."""


class MicroStep:
    """The state of one forward pass.

    Args:
        classes: the tokens it sees.
        owner: what messages call the object that the user holds.
        given: what the model was called with.
        shapes: whether its routers are shaped; else they are only watched.
        on_end: is given what the routers saw, once, when the last of them has run.
    """

    def __init__(
        self,
        classes: TokenClasses,
        owner: str,
        given: Given,
        *,
        shapes: bool,
        on_end: OnEnd | None = None,
    ) -> None:
        self.classes = classes
        self.given = given
        self._owner = owner
        self.shapes = shapes
        self._on_end = on_end
        self._layers: list[Any] = []
        self.seen: set[int] = set()
        self.expected: set[int] = set()
        """Layers whose graph waits for a gradient."""
        self.arrived: set[int] = set()
        """Layers whose gradient was handed over."""
        self.scale: Tensor | None = None
        self._gradient_NK: dict[int, Tensor] = {}
        self._fingerprint: dict[int, Tensor] = {}
        self._binding: object | None = None

    def see(self, layer: Any) -> None:
        """Keep what a router saw until the pass ends, in whatever form `on_end` takes it."""
        self._layers.append(layer)

    def end(self) -> None:
        """The last router has run. Calling it again does nothing."""
        layers, self._layers = self._layers, []
        if layers and self._on_end is not None:
            self._on_end(self, layers)

    def keep(self, layer: int, logits_NK: Tensor, gradient_NK: Tensor) -> None:
        """Keep a layer's gradient for the backward pass, and the first of its logits, to know its recomputation by."""
        self._gradient_NK[layer] = gradient_NK
        rows = logits_NK[:FINGERPRINT_ROWS].detach()
        # No view, which would keep all of the logits.
        self._fingerprint[layer] = rows.clone() if len(rows) < len(logits_NK) else rows

    def gradient_of(self, layer: int) -> Tensor | None:
        """[N, K], the gradient of the shaping term by the layer's logits, before any scale."""
        self.end()
        return self._gradient_NK.get(layer)

    def distance(self, layer: int, logits_NK: Tensor) -> float:
        """How far logits are from those that this micro-step saw in a layer."""
        here_NK = logits_NK[:FINGERPRINT_ROWS]
        # Experts that are barred have logits of −∞ in both.
        same_NK = self._fingerprint[layer] == here_NK
        return float((self._fingerprint[layer] - here_NK).masked_fill(same_NK, 0.0).abs().max())

    def bind(self, loss: Tensor, factor: float) -> None:
        """Take the scale from the gradient that will arrive at `loss`; a later binding replaces this one."""
        binding = self._binding = object()

        def on_gradient(gradient: Tensor) -> None:
            if self._binding is binding:
                self.scale = gradient.detach() * factor

        hooked: Any = loss
        hooked.register_hook(on_gradient)

    def scaled(self, layer: int, place: str) -> Tensor:
        """The layer's gradient times the scale, as it is handed to the router.

        Raises:
            AttachError: the backward pass started at no loss that is bound.
        """
        if self.scale is None:
            raise AttachError(
                place,
                "the backward pass reached it before any loss told the scale of its shaping gradient",
                f"call {self._owner}.scale_with(loss) on the loss you differentiate, as the model returned none",
            )
        self.end()
        self.arrived.add(layer)
        gradient_NK = self._gradient_NK[layer]
        return gradient_NK * self.scale.to(gradient_NK.device, gradient_NK.dtype)

    def arrived_gradient(self, layer: int) -> Tensor | None:
        """What the layer's router was handed; None: nothing yet."""
        if layer not in self.arrived or self.scale is None:
            return None
        gradient_NK = self._gradient_NK[layer]
        return gradient_NK * self.scale.to(gradient_NK.device, gradient_NK.dtype)


def recomputed_step(steps: Iterable[MicroStep], layer: int, logits_NK: Tensor) -> MicroStep | None:
    """The micro-step whose recomputation shows these logits in a layer.

    It is one that still waits for its gradient, and of several the one that saw the same logits.
    """
    with torch.no_grad():
        fitting = [step for step in steps if _fits(step, layer, logits_NK)]
        waiting = [step for step in fitting if layer not in step.arrived] or fitting
        if len(waiting) < 2:
            return waiting[0] if waiting else None
        return min(waiting, key=lambda step: step.distance(layer, logits_NK))


def _fits(step: MicroStep, layer: int, logits_NK: Tensor) -> bool:
    gradient_NK = step.gradient_of(layer)
    return gradient_NK is not None and gradient_NK.shape == logits_NK.shape
