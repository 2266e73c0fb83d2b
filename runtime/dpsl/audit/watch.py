"""Watch one micro-step, and say what arrived at each router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.audit.coefficients import coefficients
from dpsl.audit.faults import RouterSight, refuse_faults, warnings_of
from dpsl.audit.leaves import leaf_modules
from dpsl.audit.tokens import token_counts
from dpsl.errors import AttachError
from dpsl.live_hooks import LiveHook
from dpsl.ranks import summed, world_size
from dpsl.regularizers import Regularizers
from dpsl.routers.blocks import moe_blocks_without_router
from dpsl.routers.found import FoundRouter
from dpsl.routers.output import recorded_logits
from dpsl.shaper import Shaper

TASK = "task"
PRIOR = "dpsl"


class Audit:
    """Watches the first micro-step of training.

        audit = dpsl.Audit(model, shaper)
        with shaper.tokens(mask=…, modality=…):
            loss = model(**batch).loss
        (loss / accumulation).backward()
        for line in dpsl.audit_lines(audit.finish(accumulation)):
            print(line)

    Args:
        model: the model, as it was attached to.
        shaper: attached to it, or None.
        regularizers: attached to it, or None.
        total: shaped optimizer steps of the run, which a prior's schedule counts.

    Raises:
        AttachError: neither is given.
    """

    def __init__(
        self,
        model: nn.Module,
        shaper: Shaper | None = None,
        regularizers: Regularizers | None = None,
        *,
        total: int = 0,
    ) -> None:
        attached = shaper if shaper is not None else regularizers
        if attached is None:
            raise AttachError(
                "dpsl.Audit(model)",
                "nothing is attached to the routers",
                "give a shaper, regularizers or both",
            )
        self._model = model
        self._shaper = shaper
        self._regularizers = regularizers
        self._total = total
        self._routers: tuple[FoundRouter, ...] = tuple(attached.routers)
        self._seen = {router.layer: _Seen() for router in self._routers}
        self._mask_BS: Tensor | None = None
        self._handles = [
            router.register_forward_hook(self._watch(self._seen[router.layer], router), prepend=True)
            for router in self._routers
        ]
        self._handles.append(model.register_forward_pre_hook(LiveHook(self._keep_mask), with_kwargs=True))

    def finish(self, accumulation: int = 1, *, loss_scale: float = 1.0) -> dict[str, Any]:
        """Stop watching, and say what was seen. Every rank must call it; the result is the same on each.

        Args:
            accumulation: micro-steps in an optimizer step.
            loss_scale: by which fp16 training multiplies the loss.

        Returns:
            What audit.json holds: `routers` with their gradients, `blocks_without_router`, `coefficients`,
            `populations` with their tokens, `masks`, `leaf_modules`, `bytes_exchanged_per_step`, `warnings`.

        Raises:
            AuditError: a router that would not learn, or a term that would not teach it.
            AttachError: a router whose logits are not finite.
        """
        for handle in self._handles:
            handle.remove()
        if self._shaper is not None:
            self._shaper.check_finite(across_ranks=True)
        tokens = token_counts(self._shaper, self._mask_BS)
        gradients = self._gradients(loss_scale)
        sights = [
            RouterSight(router, self._seen[router.layer].ran, self._seen[router.layer].differentiable, norms)
            for router, norms in zip(self._routers, gradients, strict=True)
        ]
        found = coefficients(self._shaper, self._regularizers, accumulation / loss_scale, self._total)
        refuse_faults(sights, tokens, self._shaper, self._active())
        blocks = list(moe_blocks_without_router(self._model, self._routers))
        return {
            "routers": [_described(sight) for sight in sights],
            "blocks_without_router": blocks,
            "coefficients": found,
            "populations": tokens.populations,
            "masks": {"tokens": tokens.counted, "padding": tokens.padding},
            "leaf_modules": list(leaf_modules(self._model)),
            "bytes_exchanged_per_step": self._bytes() * accumulation,
            "warnings": warnings_of(self._shaper, found, tokens, blocks),
        }

    def _watch(self, seen: _Seen, router: FoundRouter) -> Any:
        def keep(gradient: Tensor) -> None:
            if seen.gradient_NK is None:
                seen.gradient_NK = gradient.detach()

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            logits: Any = recorded_logits(router, output)
            seen.ran = True
            if logits.requires_grad:
                seen.differentiable = True
                logits.register_hook(keep)

        return hook

    def _keep_mask(self, _module: nn.Module, _args: Any, kwargs: Mapping[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        if isinstance(mask, Tensor) and mask.dim() == 2:
            self._mask_BS = mask

    def _gradients(self, loss_scale: float) -> list[dict[str, float]]:
        """For each router, the norm of what came from the task and from each term, over all ranks.

        The task's is what is left of the whole: with it comes what terms at deeper layers send back through this one.
        """
        device = next(self._model.parameters()).device
        shaped = self._shaper.arrived_gradients() if self._shaper is not None else {}
        regularized = self._regularizers.arrived_gradients() if self._regularizers is not None else {}
        task: list[Tensor | None] = []
        for router in self._routers:
            whole_NK = self._seen[router.layer].gradient_NK
            if whole_NK is not None:
                whole_NK = whole_NK.reshape(-1, whole_NK.shape[-1]).float().to(device)
                for part in (shaped, regularized):
                    if (part_NK := part.get(router.layer)) is not None:
                        whole_NK = whole_NK - part_NK.to(device)
            task.append(whole_NK)
        columns = {TASK: _norms(task, device, loss_scale)}
        if self._shaper is not None and self._shaper.shapes:
            columns[PRIOR] = _norms(
                [shaped.get(router.layer) for router in self._routers], device, loss_scale
            )
        if self._regularizers is not None:
            arrived = self._regularizers.arrivals()
            for term in self._regularizers.terms:
                norms = [arrived.get(router.layer, {}).get(term.name, 0.0) for router in self._routers]
                columns[term.name] = _norms([torch.tensor(norm) for norm in norms], device, loss_scale)
        return [
            {name: column[place] for name, column in columns.items()} for place in range(len(self._routers))
        ]

    def _active(self) -> tuple[str, ...]:
        return self._regularizers.active() if self._regularizers is not None else ()

    def _bytes(self) -> int:
        return self._shaper.bytes_exchanged() if self._shaper is not None else 0


@dataclass
class _Seen:
    """What a router's hooks saw."""

    ran: bool = False
    differentiable: bool = False
    gradient_NK: Tensor | None = None


def _described(sight: RouterSight) -> dict[str, Any]:
    router = sight.router
    return {
        "layer": router.layer,
        "module": router.name,
        "kind": router.kind,
        "gradient": sight.gradient,
    }


def _norms(gradients: Sequence[Tensor | None], device: torch.device, loss_scale: float) -> list[float]:
    """The norm of each gradient over all ranks, as their mean counts it, without fp16's scale."""
    squares = [0.0 if g is None else float(g.double().square().sum()) for g in gradients]
    total = summed(torch.tensor(squares, dtype=torch.float64, device=device))
    return [float(value) / (loss_scale * world_size()) for value in total.sqrt()]
