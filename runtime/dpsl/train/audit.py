"""The audit at the start of a stage: does every router get the gradients it should?

It watches the first micro-step of training itself, so it changes nothing and costs next to nothing, whatever shards
the model; and it speaks before the first optimizer step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpsl.errors import DpslError
from dpsl.regularizers import Regularizers
from dpsl.routers.found import FoundRouter
from dpsl.tokens import TOKEN_ATTRIBUTES
from dpsl.train.console import Console, number
from dpsl.train.processes import gather_sum, world_size
from priorlang.table.prior_table import UNSHAPED, PriorTable


class AuditError(DpslError):
    """A router would not learn."""


class Audit:
    """Watches one micro-step.

    Args:
        shaper: attached to the model.
        regularizers: as well, or None.
        shapes: whether the stage is shaped.
        total: shaped steps of the run.
    """

    def __init__(self, shaper: Any, regularizers: Regularizers | None, *, shapes: bool, total: int) -> None:
        self._shaper = shaper
        self._regularizers = regularizers
        self._shapes = shapes
        self._total = total
        self._gradient_NK: dict[int, Tensor] = {}
        self._handles = [
            router.register_forward_hook(self._watch(place, router), prepend=True)
            for place, router in enumerate(shaper.routers)
        ]

    def finish(self, inputs: Mapping[str, Any], micro_steps: int, loss_scale: float) -> dict[str, Any]:
        """Stop watching, and say what was seen. Every rank must call it; the result is the same on each.

        Args:
            inputs: the micro-batch of this rank.
            micro_steps: in an optimizer step.
            loss_scale: by which fp16 training multiplies the loss.

        Returns:
            What audit.json holds: `routers` with their gradients, `coefficients`, `populations` with their tokens,
            `bytes_exchanged_per_step`.

        Raises:
            AuditError: a router that gets no gradient.
            AttachError: a router whose logits are not finite.
        """
        for handle in self._handles:
            handle.remove()
        self._shaper.check_finite(across_ranks=True)
        device = inputs["input_ids"].device
        delivered = [self._delivered(router.layer, device) for router in self._shaper.routers]
        task = self._task_gradients(delivered)
        norms = {"task": _norms(task, device, loss_scale)}
        if self._shapes:
            norms["dpsl"] = _norms([parts.get("dpsl") for parts in delivered], device, loss_scale)
        norms |= self._of_regularizers(device, loss_scale)
        for place, router in enumerate(self._shaper.routers):
            _refuse_dead_router(router, sum(of_router[place] for of_router in norms.values()))
        table: PriorTable = self._shaper.table
        routers = [
            {
                "layer": router.layer,
                "module": router.name,
                "kind": router.kind,
                "gradient": {name: of_router[place] for name, of_router in norms.items()},
            }
            for place, router in enumerate(self._shaper.routers)
        ]
        tokens = _tokens_of_populations(table, inputs, device)
        populations = [
            {"name": name, "tokens": count}
            for name, count in zip(table.header.populations, tokens, strict=True)
        ]
        coefficients = self._coefficients(micro_steps / loss_scale)
        return {
            "routers": routers,
            "coefficients": coefficients,
            "populations": populations,
            "bytes_exchanged_per_step": self._shaper.bytes_exchanged() * micro_steps,
        }

    def _watch(self, place: int, router: FoundRouter) -> Any:
        def keep(gradient: Tensor) -> None:
            self._gradient_NK.setdefault(place, gradient.detach())

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            logits: Any = output if isinstance(output, Tensor) else output[router.logits_index]
            if logits.requires_grad:
                logits.register_hook(keep)

        return hook

    def _of_regularizers(self, device: torch.device, loss_scale: float) -> dict[str, list[float]]:
        """For each regularizer, the norm of what it handed to each router."""
        if self._regularizers is None:
            return {}
        arrived = self._regularizers.arrivals()
        return {
            term.name: _norms(
                [torch.tensor(arrived.get(r.layer, {}).get(term.name, 0.0)) for r in self._shaper.routers],
                device,
                loss_scale,
            )
            for term in self._regularizers.terms
        }

    def _delivered(self, layer: int, device: torch.device) -> dict[str, Tensor]:
        """The gradient that the prior, and the regularizers together, handed to a layer's router."""
        found: dict[str, Tensor] = {}
        for name, terms in (("dpsl", self._shaper), ("regularizers", self._regularizers)):
            step = terms._passes.latest if terms is not None else None
            gradient_NK = step.gradient_of(layer) if step is not None else None
            if gradient_NK is not None and step is not None and step.scale is not None:
                found[name] = gradient_NK.to(device) * step.scale.to(device)
        return found

    def _task_gradients(self, delivered: Sequence[Mapping[str, Tensor]]) -> list[Tensor | None]:
        """What is left of each router's gradient without the terms that were handed to it."""
        task: list[Tensor | None] = []
        for place, parts in enumerate(delivered):
            whole_NK = self._gradient_NK.get(place)
            if whole_NK is not None:
                whole_NK = whole_NK.reshape(-1, whole_NK.shape[-1]).float()
                for part_NK in parts.values():
                    whole_NK = whole_NK - part_NK
            task.append(whole_NK)
        return task

    def _coefficients(self, micro_steps: float) -> dict[str, Any]:
        if not self._shapes:
            return {"weights": []}
        table: PriorTable = self._shaper.table
        factor, step = peak_of_schedule(table, self._total)
        scales = [arrival.scale for arrival in self._shaper.arrivals() if arrival.scale is not None]
        scale = float(scales[0]) * micro_steps if scales else 0.0
        return {
            "schedule": {"largest": factor, "at_step": step, "of": self._total},
            "scale": scale,
            "weights": sorted({float(weight) * factor * scale for weight in table.weight}),
        }


def print_audit(console: Console, result: Mapping[str, Any]) -> None:
    """The audit as a table."""
    console.line("audit: gradient at each router's logits, one micro-step")
    names = list(result["routers"][0]["gradient"])
    rows = [
        [f"layer {r['layer']} ({r['module']})", *(number(r["gradient"].get(name, 0.0)) for name in names)]
        for r in result["routers"]
    ]
    console.table(["router", *names], rows)
    if "dpsl" not in names:
        return
    weights = ", ".join(number(weight) for weight in result["coefficients"]["weights"])
    console.line(f"effective coefficient of the shaping term: {weights}")
    if exchanged := result["bytes_exchanged_per_step"]:
        console.line(f"each rank exchanges {exchanged:,} bytes of histograms in a step")
    console.table(["population", "tokens"], [[p["name"], f"{p['tokens']:,}"] for p in result["populations"]])


def peak_of_schedule(table: PriorTable, total: int) -> tuple[float, int]:
    """The largest factor of the prior's schedule, and a step where it holds."""
    if not table.header.schedule:
        return 1.0, 0
    place, factor = max(table.header.schedule, key=lambda point: point[1])
    return factor, round(place * total) if table.header.schedule_unit == "fraction" else int(place)


def _norms(gradients: Sequence[Tensor | None], device: torch.device, loss_scale: float) -> list[float]:
    """The norm of each gradient over all ranks, as their mean counts it, without fp16's scale."""
    squares = [0.0 if g is None else float(g.double().square().sum()) for g in gradients]
    summed = gather_sum(torch.tensor(squares, dtype=torch.float64, device=device))
    return [float(value) / (loss_scale * world_size()) for value in summed.sqrt()]


def _tokens_of_populations(table: PriorTable, batch: Mapping[str, Any], device: torch.device) -> list[int]:
    """Tokens of each population in the micro-batch, over all ranks."""
    mask_BS = batch["attention_mask"].bool()
    class_BS = torch.zeros_like(batch["attention_mask"])
    for attribute in table.header.attributes:
        codes = batch[TOKEN_ATTRIBUTES].get(attribute.name)
        if codes is None:
            codes = torch.tensor(attribute.code(None) or 0)
        class_BS = class_BS * len(attribute.members) + (codes[:, None] if codes.dim() == 1 else codes)
    per_class = torch.bincount(class_BS[mask_BS], minlength=table.class_count).to(device)
    per_class = gather_sum(per_class).cpu().numpy()
    counts = np.zeros(table.population_count, np.int64)
    for populations in table.population:
        shaped = populations != UNSHAPED
        np.add.at(counts, populations[shaped], per_class[shaped])
    return [int(count) for count in counts]


def _refuse_dead_router(router: FoundRouter, gradient: float) -> None:
    if not any(parameter.requires_grad for parameter in router.module.parameters()):
        raise AuditError(
            router.place, "this router is frozen, so nothing can move it", "add `routers` to `train:`"
        )
    if gradient == 0.0:
        raise AuditError(
            router.place,
            "no gradient arrives at this router",
            "check that its output is used, and that the prior shapes tokens which the data has",
        )
