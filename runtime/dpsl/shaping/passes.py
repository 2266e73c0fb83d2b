"""The model's forward passes, each with the tokens it sees and the loss it ends in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any, TypeGuard
from weakref import WeakSet

import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.live_hooks import LiveHook
from dpsl.shaping.given import Given, given_to
from dpsl.shaping.micro_step import MicroStep, OnEnd, recomputed_step
from dpsl.shaping.token_classes import TokenClasses

_WAITING = 64
"""Forward passes that may wait for their loss at once."""


class ForwardPasses:
    """Which micro-step a router's forward pass belongs to.

    Args:
        owner: what messages call the object that the user holds.
        shaping: whether routers are shaped at all.
        on_end: see `MicroStep`.
    """

    def __init__(self, owner: str, *, shaping: bool, on_end: OnEnd | None = None) -> None:
        self.latest: MicroStep | None = None
        self._owner = owner
        self._shaping = shaping
        self._on_end = on_end
        self._classes: TokenClasses | None = None
        self._thread = get_ident()
        self._grad_enabled = True
        self._given = Given()
        self._current: MicroStep | None = None
        self._alive: WeakSet[MicroStep] = WeakSet()
        self._waiting: deque[MicroStep] = deque(maxlen=_WAITING)
        self._binds_itself = True
        self._delivered = False
        self._closed = False

    @contextmanager
    def describing(self, classes: TokenClasses) -> Iterator[None]:
        """Forward passes within see these tokens.

        Raises:
            AttachError: the hooks are gone, or a router got no gradient of the pass before.
        """
        if self._closed:
            raise AttachError(
                f"{self._owner}.tokens(…)",
                "its hooks are removed, and nobody would see these tokens",
                "attach to the model anew, or leave the description out",
            )
        self._check_delivery()
        self._waiting = deque((step for step in self._waiting if step.scale is None), maxlen=_WAITING)
        outer = self._classes, self._current, self._grad_enabled, self._thread
        self._classes, self._current, self._grad_enabled = classes, None, torch.is_grad_enabled()
        self._thread, self._given = get_ident(), Given()
        try:
            yield
            self._end_current()
        finally:
            self._classes, self._current, self._grad_enabled, self._thread = outer

    @property
    def described(self) -> TokenClasses | None:
        """The tokens of the forward pass that runs now."""
        return self._classes

    @property
    def given(self) -> Given:
        """What the model was called with for the forward pass that runs now; nothing, where a part of it was."""
        return self._given

    def watch(self, model: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
        """Hook the model itself, to see where its passes begin and end."""
        return [
            model.register_forward_pre_hook(LiveHook(self._begin), with_kwargs=True),
            model.register_forward_hook(LiveHook(self._end)),
        ]

    def close(self) -> None:
        """Nothing is hooked any more."""
        self._closed = True

    def first(self, layer: int, place: str) -> MicroStep | None:
        """The micro-step of a router's first forward pass; None where no tokens are described.

        Raises:
            AttachError: it runs in another thread than the one that described its tokens.
        """
        if self._classes is None:
            return None
        if self._thread != get_ident():
            raise AttachError(
                place,
                "it runs in another thread than the one that described its tokens, as under torch.nn.DataParallel",
                "use DistributedDataParallel or DeepSpeed, or describe and run the model in one thread",
            )
        if self._current is None or layer in self._current.seen:
            self._end_current()
            shapes = self._shaping and self._grad_enabled
            self._current = self.latest = MicroStep(
                self._classes, self._owner, self._given, shapes=shapes, on_end=self._on_end
            )
            if shapes:
                self._alive.add(self._current)
                self._waiting.append(self._current)
        self._current.seen.add(layer)
        return self._current

    def recomputed(self, layer: int, logits_NK: Tensor) -> MicroStep | None:
        """The micro-step of a router's forward pass that is recomputed within a backward pass."""
        return recomputed_step(self._alive, layer, logits_NK)

    def bind(self, loss: Tensor, factor: float) -> None:
        """Take the scale of every pass that still waits for it from the gradient that arrives at `loss`.

        Raises:
            AttachError: the loss is no differentiable scalar.
        """
        if not is_differentiable_scalar(loss):
            raise AttachError(
                f"{self._owner}.scale_with(loss)",
                "it is no differentiable scalar",
                "give the loss whose backward will run",
            )
        self._binds_itself = False
        for step in self._waiting:
            step.bind(loss, factor)

    def arrived_gradients(self) -> dict[int, Tensor]:
        """By layer, the gradient [N, K] that the latest forward pass handed to its router."""
        step = self.latest
        found = {layer: step.arrived_gradient(layer) for layer in step.arrived} if step is not None else {}
        return {layer: gradient_NK for layer, gradient_NK in found.items() if gradient_NK is not None}

    def arrived_scale(self) -> float | None:
        """The gradient that arrived at the latest loss, times the caller's factor; None: none came."""
        step = self.latest
        return float(step.scale) if step is not None and step.scale is not None else None

    def _begin(self, _model: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self._end_current()
        self._grad_enabled = torch.is_grad_enabled()
        self._given = given_to(arguments, named)

    def _end(self, _model: nn.Module, _arguments: Any, output: Any) -> None:
        self._given = Given()
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        step = self._end_current()
        if step is None and self._classes is not None:
            raise AttachError(
                f"{self._owner}.tokens(…)",
                "none of the routers that were found ran in this forward pass of the model",
                "attach after deepspeed.initialize and whatever else puts other modules in the model's place",
            )
        if self._binds_itself and step is not None and is_differentiable_scalar(loss):
            step.bind(loss, 1.0)

    def _end_current(self) -> MicroStep | None:
        step, self._current = self._current, None
        if step is not None:
            step.end()
        return step

    def _check_delivery(self) -> None:
        """After the first backward pass: every router that waited for a gradient must have got it.

        Raises:
            AttachError: one did not.
        """
        step = self.latest
        if self._delivered or step is None or step.scale is None:
            return
        self._delivered = True
        if missed := sorted(step.expected - step.arrived):
            raise AttachError(
                f"layer {missed[0]}",
                "no gradient passed its router: the experts are not combined with anything in its output",
                "this kind of router needs an adapter of its own in dpsl/routers",
            )


def is_differentiable_scalar(loss: Any) -> TypeGuard[Tensor]:
    """Whether a backward pass can start here."""
    return isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad
