"""Native DeepSpeed MoE and AutoEP in the matrix of injection; for injection_worker."""

from __future__ import annotations

from typing import Any

import deepspeed
import torch
from batches import micro_batch, table_of
from deepspeed.moe.layer import MoE
from deepspeed.moe.utils import split_params_into_different_moe_groups_for_optimizer
from deepspeed.utils import safe_get_full_grad
from explicit import MicroBatch, population_terms
from tiny_models import EXPERTS, LAYERS, VOCABULARY
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.utils import output_capturing

import dpsl

WIDTH = 16


class Layer(nn.Module):
    """A residual MoE."""

    def __init__(self, k: int, ep_size: int) -> None:
        super().__init__()
        expert = nn.Sequential(nn.Linear(WIDTH, 24), nn.GELU(), nn.Linear(24, WIDTH))
        self.moe = MoE(WIDTH, expert, EXPERTS, ep_size, k, capacity_factor=1.5, min_capacity=0)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        mixed: Tensor = self.moe(self.norm(hidden_BSH))[0]
        return hidden_BSH + mixed


class NativeMoE(nn.Module):
    """A language model without attention."""

    def __init__(self, k: int, ep_size: int, checkpointing: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.checkpointing = checkpointing
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer(k, ep_size) for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, VOCABULARY)
        for layer in self.layers:
            nn.init.normal_(layer.moe.deepspeed_moe.gate.wg.weight, std=0.7)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss."""
        hidden_BSH = self.embedding(input_ids)
        for layer in self.layers:
            if self.checkpointing is None:
                hidden_BSH = layer(hidden_BSH)
            else:
                hidden_BSH = checkpoint(layer, hidden_BSH, use_reentrant=self.checkpointing)
        logits = self.head(hidden_BSH)[:, :-1].flatten(0, 1)
        return {"loss": nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=-100)}


def native_loop(case: dict[str, Any]) -> dict[str, Any]:
    """Two engines of the same weights: one sums explicitly, one is shaped from outside."""
    engine, model = _engine(case, checkpointed=False)
    expected = _gradients(case, engine, model, _explicit_backward)
    engine.destroy()
    engine, model = _engine(case, checkpointed=True)
    shaper = dpsl.attach(engine, table_of(case["k"]), ranks="sort")
    assert [router.kind for router in shaper.routers] == ["deepspeed-moe"] * LAYERS

    def backward(engine: Any, model: nn.Module, batch: MicroBatch) -> None:
        with shaper.tokens(mask=batch.inputs["attention_mask"], modality=batch.modality):
            loss = engine(**batch.inputs)["loss"]
        engine.backward(loss)

    found = _gradients(case, engine, model, backward)
    counted = sum(
        int(micro_batch(place, rank).inputs["attention_mask"].sum())
        for place in range(case["accumulation"])
        for rank in range(torch.distributed.get_world_size())
    )
    statistics = shaper.statistics()
    shaper.detach()
    engine.destroy()
    return {
        "distance": max(float((found[n] - expected[n]).norm() / expected[n].norm()) for n in expected),
        "tokens": [int(statistics.tokens.sum()), int(statistics.load.sum())],
        "expected_tokens": [counted * LAYERS, counted * LAYERS * case["k"]],
    }


def _engine(case: dict[str, Any], *, checkpointed: bool) -> tuple[Any, NativeMoE]:
    reentrant = {"plain": None, "non-reentrant": False, "reentrant": True}[case["checkpointing"]]
    model = NativeMoE(case["k"], torch.distributed.get_world_size(), reentrant if checkpointed else None)
    if case["dtype"] == "bf16":
        model = model.bfloat16()
    groups = split_params_into_different_moe_groups_for_optimizer(
        {"params": list(model.parameters()), "name": "all"}
    )
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": case["accumulation"],
        "zero_optimization": {"stage": case["stage"]},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": case["dtype"] == "bf16"},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
    }
    engine, *_ = deepspeed.initialize(
        model=model, model_parameters=groups, optimizer=torch.optim.AdamW(groups, lr=1e-3), config=config
    )
    return engine, model


def _gradients(case: dict[str, Any], engine: Any, model: NativeMoE, backward: Any) -> dict[str, Tensor]:
    for place in range(case["accumulation"]):
        # The second expert is drawn at random.
        torch.manual_seed(place)
        backward(engine, model, micro_batch(place, torch.distributed.get_rank()))
        if place < case["accumulation"] - 1:
            engine.step()
    return {
        name: safe_get_full_grad(parameter).float().clone()
        for name, parameter in model.named_parameters()
        if name.endswith("wg.weight")
    }


def _explicit_backward(engine: Any, model: NativeMoE, batch: MicroBatch) -> None:
    caught: list[Tensor] = []
    gates = [layer.moe.deepspeed_moe.gate for layer in model.layers]
    handles = [
        gate.register_forward_pre_hook(
            lambda gate, inputs: caught.append(
                nn.functional.linear(inputs[0].float(), gate.wg.weight.float())
            )
        )
        for gate in gates
    ]
    loss = engine(**batch.inputs)["loss"]
    for handle in handles:
        handle.remove()
    ranks = torch.distributed.get_world_size()
    batches: list[Any] = [None] * ranks
    torch.distributed.all_gather_object(batches, tuple(batch))
    for place, own_NK in enumerate(caught):
        parts: list[Any] = [None] * ranks
        torch.distributed.all_gather_object(parts, own_NK.detach())
        parts[torch.distributed.get_rank()] = own_NK
        table = table_of(gates[0].k)
        term = population_terms(table, place, torch.cat(parts), [MicroBatch(*each) for each in batches])
        # Data parallelism divides by the ranks, of which each has its own tokens' part of this term.
        loss = loss + ranks * term
    engine.backward(loss)


def autoep_ready() -> None:
    """Let DeepSpeed 0.19.8 start AutoEP on transformers 5.23, whose registry has no `get` with a default."""
    registry = output_capturing._CanRecordRegistry
    if hasattr(registry, "own_get"):
        return
    registry.own_get = own_get = registry.get
    registry.get = lambda self, key, *default: (
        dict.get(self, key, *default) if default else own_get(self, key)
    )
