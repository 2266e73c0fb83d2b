"""The audit before the first shaped step: does every router get the gradients it should?

One micro-step is run forward and backward twice, once with the shaping term scaled to nothing. Gradients are taken
at the routers' logits with `torch.autograd.grad`, so no parameter, optimizer state or random state changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from dpsl.errors import DpslError
from dpsl.regularizers import Regularizers
from dpsl.routers.found import FoundRouter
from dpsl.train.console import Console, number
from dpsl.train.data.collator import TOKEN_ATTRIBUTES
from dpsl.train.processes import gather_sum
from dpsl.train.trainer import StageTrainer
from torch import Tensor

from priorlang.table.prior_table import UNSHAPED, PriorTable


class AuditError(DpslError):
    """A router would not learn."""


def audit(
    trainer: StageTrainer,
    shaper: Any,
    regularizers: Regularizers | None,
    batch: Mapping[str, Any],
    done: int,
    total: int,
    *,
    shapes: bool,
) -> dict[str, Any]:
    """Run the audit. Every rank must call it; the result is the same on each.

    Args:
        trainer: prepared, before its first step.
        shaper: attached to its model.
        regularizers: as well, or None.
        batch: one micro-batch of this rank, from the collator.
        done: shaped steps before this stage.
        total: shaped steps of the run.
        shapes: whether the stage is shaped.

    Returns:
        What audit.json holds: `routers` with their gradients, `coefficients`, `populations` with their tokens.

    Raises:
        AuditError: a router that gets no gradient.
    """
    table: PriorTable = shaper.table
    factor, step = peak_of_schedule(table, total)
    shaper.set_progress(step, total)
    with _unchanged_random_state():
        task = _task_gradients(trainer, shaper, regularizers, batch)
        shaping, scale = _shaping_gradients(trainer, shaper, batch)
    further = regularizers.arrivals() if regularizers is not None else {}
    for terms in (shaper, regularizers):
        if terms is not None:
            terms.metrics()
    shaper.reset_statistics()
    shaper.set_progress(done, total)
    tokens = _tokens_of_populations(table, batch, trainer.args.device)
    per_step = scale * trainer.args.gradient_accumulation_steps
    result = {
        "routers": [
            {
                "layer": router.layer,
                "module": router.name,
                "kind": router.kind,
                "gradient": {
                    "task": task[place],
                    **({"dpsl": shaping[place]} if shapes else {}),
                    **further.get(router.layer, {}),
                },
            }
            for place, router in enumerate(shaper.routers)
        ],
        "coefficients": {
            "schedule": {"factor": factor, "step": step, "of": total},
            "scale": per_step,
            "weights": sorted({float(w) * factor * per_step for w in table.weight}) if shapes else [],
        },
        "populations": [
            {"name": name, "tokens": count}
            for name, count in zip(table.header.populations, tokens, strict=True)
        ],
    }
    for place, router in enumerate(shaper.routers):
        _refuse_dead_router(router, task[place], shaping[place])
    return result


def print_audit(console: Console, result: Mapping[str, Any]) -> None:
    """The audit as a table."""
    console.line("audit: gradient at each router's logits, one micro-step")
    shaped = any("dpsl" in r["gradient"] for r in result["routers"])
    names = sorted({name for r in result["routers"] for name in r["gradient"]} - {"task", "dpsl"})
    names = ["task", *(["dpsl"] if shaped else []), *names]
    rows = [
        [f"layer {r['layer']} ({r['module']})", *(number(r["gradient"].get(name, 0.0)) for name in names)]
        for r in result["routers"]
    ]
    console.table(["router", *names], rows)
    if not shaped:
        return
    weights = ", ".join(number(weight) for weight in result["coefficients"]["weights"])
    console.line(f"effective coefficient of the shaping term: {weights}")
    console.table(["population", "tokens"], [[p["name"], f"{p['tokens']:,}"] for p in result["populations"]])


def peak_of_schedule(table: PriorTable, total: int) -> tuple[float, int]:
    """The largest factor of the prior's schedule, and a step where it holds."""
    if not table.header.schedule:
        return 1.0, 0
    place, factor = max(table.header.schedule, key=lambda point: point[1])
    return factor, round(place * total) if table.header.schedule_unit == "fraction" else int(place)


def _task_gradients(
    trainer: StageTrainer, shaper: Any, regularizers: Regularizers | None, batch: Mapping[str, Any]
) -> list[float]:
    """For each router, the norm of d task loss / d logits over all ranks."""
    with _captured_logits(shaper.routers) as logits:
        loss = _loss(trainer, batch)
        shaper.scale_with(loss, 0.0)
        if regularizers is not None:
            regularizers.scale_with(loss, 0.0)
        wanted = [logits.get(place) for place in range(len(shaper.routers))]
        live = [tensor for tensor in wanted if tensor is not None and tensor.requires_grad]
        found = iter(torch.autograd.grad(loss, live, allow_unused=True) if live else ())
        gradients = [next(found) if t is not None and t.requires_grad else None for t in wanted]
    return _norms(gradients, trainer)


def _shaping_gradients(
    trainer: StageTrainer, shaper: Any, batch: Mapping[str, Any]
) -> tuple[list[float], float]:
    """For each router, the norm of the shaping gradient that arrived, and the scale it arrived with."""
    with _captured_logits(shaper.routers) as logits:
        loss = _loss(trainer, batch)
        live = [tensor for tensor in logits.values() if tensor.requires_grad]
        if live:
            torch.autograd.grad(loss, live, allow_unused=True)
    arrivals = shaper.arrivals()
    norms = [torch.tensor(float(arrival.gradient_norm or 0.0)) for arrival in arrivals]
    scale = next((float(arrival.scale) for arrival in arrivals if arrival.scale is not None), 0.0)
    return _norms(list(norms), trainer), scale


def _loss(trainer: StageTrainer, batch: Mapping[str, Any]) -> Tensor:
    # Not the engine: it would take the end of torch.autograd.grad for the end of a step.
    model = trainer.model
    model.train()
    steps = trainer.args.gradient_accumulation_steps
    trainer.current_gradient_accumulation_steps = steps
    own = dict(batch)
    items = trainer._get_num_items_in_batch([own], trainer.args.device)
    inputs = trainer._prepare_inputs(own)
    with trainer.compute_loss_context_manager():
        loss: Tensor = trainer.compute_loss(
            model, inputs, num_items_in_batch=items * steps if items is not None else None
        )
    return loss


@contextmanager
def _captured_logits(routers: tuple[FoundRouter, ...]) -> Iterator[dict[int, Tensor]]:
    """The logits of each router in the next forward pass, by the router's place."""
    logits: dict[int, Tensor] = {}

    def capture(place: int, router: FoundRouter) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            logits.setdefault(place, output if isinstance(output, Tensor) else output[router.logits_index])

        return hook

    handles = [
        router.module.register_forward_hook(capture(place, router), prepend=True)
        for place, router in enumerate(routers)
    ]
    try:
        yield logits
    finally:
        for handle in handles:
            handle.remove()


def _norms(gradients: list[Tensor | None], trainer: StageTrainer) -> list[float]:
    squares = [0.0 if g is None else float(g.detach().double().square().sum()) for g in gradients]
    summed = gather_sum(torch.tensor(squares, dtype=torch.float64, device=trainer.args.device))
    return [float(value) for value in summed.sqrt()]


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


def _refuse_dead_router(router: FoundRouter, task: float, shaping: float) -> None:
    if not any(parameter.requires_grad for parameter in router.module.parameters()):
        raise AuditError(
            router.place, "this router is frozen, so shaping cannot move it", "add `routers` to `train:`"
        )
    if task == 0.0 and shaping == 0.0:
        raise AuditError(
            router.place,
            "no gradient arrives at this router",
            "check that its output is used, and that the prior shapes tokens which the data has",
        )


@contextmanager
def _unchanged_random_state() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)
