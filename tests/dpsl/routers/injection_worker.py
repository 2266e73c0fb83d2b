"""One process of a group that runs many cases of injection one after another, since starting takes longer than a case.

Usage: injection_worker.py CASES.json RESULTS.json, with torchrun's environment variables. Rank 0 writes, for each
case, how far the routers' gradients are from explicit summation, and the tokens counted.
"""

from __future__ import annotations

import copy
import gc
import json
import logging
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deepspeed
import torch
import transformers
from batches import micro_batch, table_of
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad
from explicit import MicroBatch, distance, explicit_loss, is_router
from families import build, top_k_of
from injection_trainer import RATE, OneStep, arguments_of, collate, rows_of
from native_moe import autoep_ready, native_loop
from torch import Tensor, nn

import dpsl
from dpsl.routers.zero3 import set_leaf_modules
from dpsl.shaper import Shaper

CHECKPOINTING: dict[str, dict[str, bool] | None] = {
    "plain": None,
    "non-reentrant": {"use_reentrant": False},
    "reentrant": {"use_reentrant": True},
}
Case = dict[str, Any]


def main() -> None:
    """Run every case; one that fails is told as such."""
    cases = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.utils.logger.setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    deepspeed.init_distributed("gloo", verbose=False)
    # DeepSpeed collects garbage at every turn; what is imported by now is none.
    gc.collect()
    gc.freeze()
    results = []
    for case in cases:
        try:
            results.append(LOOPS[case["loop"]](case))
        except Exception:
            results.append({"failed": traceback.format_exc()[-3000:]})
        gc.collect()
        if torch.distributed.get_rank() == 0:
            Path(sys.argv[2]).write_text(json.dumps(results))
        if "failed" in results[-1] and world() > 1:
            # The other rank may wait for this one.
            sys.exit(1)


def raw_loop(case: Case) -> dict[str, Any]:
    """A loop of one's own around a DeepSpeed engine: gradients of one optimizer step."""
    model = model_of(case)
    expected = expected_gradients(case, model)
    set_checkpointing(model, case["checkpointing"])
    set_leaf_modules(model)
    engine, *_ = deepspeed.initialize(model=model, config=config_of(case))
    result = raw_steps(case, engine, expected, str)
    engine.destroy()
    return result


def raw_steps(
    case: Case, engine: Any, expected: dict[str, Tensor], name_before: Callable[[str], str]
) -> dict[str, Any]:
    """The micro-steps of one optimizer step, shaped."""
    shaper = dpsl.attach(engine, table_of(top_k_of(case["kind"])), ranks="sort")
    steps = case["accumulation"]
    for place in range(steps):
        inputs, modality = micro_batch(place, torch.distributed.get_rank())
        with shaper.tokens(mask=inputs["attention_mask"], modality=modality):
            loss = engine(**inputs).loss
        engine.backward(loss)
        if place < steps - 1:
            engine.step()
    found = {
        name_before(name): safe_get_full_grad(p).float().clone()
        for name, p in engine.module.named_parameters()
        if is_router(name)
    }
    result = compared(case, found, expected, shaper)
    result["kinds"] = sorted({router.kind for router in shaper.routers})
    shaper.detach()
    return result


def trainer_loop(case: Case) -> dict[str, Any]:
    """Transformers' Trainer, with or without DeepSpeed: what one optimizer step of SGD subtracts."""
    model = model_of(case)
    items = sum(answers(batch) for place in range(case["accumulation"]) for batch in ranks_of(place))
    expected = expected_gradients(case, model, items)
    set_leaf_modules(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = OneStep(
            model=model,
            args=arguments_of(case, CHECKPOINTING[case["checkpointing"]], config_of(case), folder),
            train_dataset=rows_of(ranks_of(place) for place in range(case["accumulation"])),
            data_collator=collate,
        )
        before = {n: p.detach().float().clone() for n, p in model.named_parameters() if is_router(n)}
        trainer.shaper = dpsl.attach(model, table_of(top_k_of(case["kind"])), ranks="sort")
        trainer.train()
    found = {}
    for name, parameter in model.named_parameters():
        if is_router(name):
            after = safe_get_full_fp32_param(parameter) if case["stage"] is not None else None
            found[name] = (before[name] - (parameter.detach() if after is None else after).float()) / RATE
    result = compared(case, found, expected, trainer.shaper)
    trainer.shaper.detach()
    if case["stage"] is not None:
        trainer.model_wrapped.destroy()
    trainer.accelerator.free_memory()
    return result


def autoep_loop(case: Case) -> dict[str, Any]:
    """AutoEP: the modules that DeepSpeed puts in place of the model's own."""
    autoep_ready()
    model = model_of(case)
    expected = expected_gradients(case, model)
    expert_parallel = {"enabled": True, "autoep_size": world(), "use_grouped_mm": False}
    config = {**config_of(case), "expert_parallel": expert_parallel}
    engine, *_ = deepspeed.initialize(model=model, config=config)
    result = raw_steps(case, engine, expected, lambda name: name.replace("mlp.router.gate.", "mlp.gate."))
    assert result.pop("kinds") == ["autoep"]
    engine.destroy()
    return result


def leaves_loop(case: Case) -> dict[str, Any]:
    """ZeRO-3 with and without leaf modules: attaching warns of their absence, and of nothing else."""
    warned = []
    for marked in (False, True):
        model = model_of(case)
        if marked:
            set_leaf_modules(model)
        engine, *_ = deepspeed.initialize(model=model, config=config_of(case))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            dpsl.attach(engine, table_of(top_k_of(case["kind"]))).detach()
        warned.append([str(warning.message) for warning in seen])
        engine.destroy()
    ((text,), nothing) = warned
    assert "dpsl.set_leaf_modules(model) before deepspeed.initialize" in text
    assert nothing == []
    return {"distance": 0.0, "tokens": 0, "expected_tokens": 0}


LOOPS = {
    "raw": raw_loop,
    "trainer": trainer_loop,
    "native": native_loop,
    "autoep": autoep_loop,
    "leaves": leaves_loop,
}


def world() -> int:
    return torch.distributed.get_world_size()


def ranks_of(place: int) -> list[MicroBatch]:
    return [micro_batch(place, rank) for rank in range(world())]


def answers(batch: MicroBatch) -> int:
    return int((batch.inputs["labels"][:, 1:] != -100).sum())


def model_of(case: Case) -> nn.Module:
    return build(case["kind"], dtype=torch.bfloat16 if case["dtype"] == "bf16" else torch.float32)


def expected_gradients(case: Case, model: nn.Module, items: int | None = None) -> dict[str, Tensor]:
    """By explicit summation; micro-steps and ranks are added in float32."""

    def normalised(model: nn.Module, batch: MicroBatch) -> Tensor:
        loss: Tensor = model(**batch.inputs, num_items_in_batch=items).loss
        return loss * world() * case["accumulation"]

    options = {} if items is None else {"loss_of": normalised}
    table, total = table_of(top_k_of(case["kind"])), {}
    replicas = [copy.deepcopy(model) for _ in range(world())]
    for place in range(case["accumulation"]):
        explicit_loss(replicas, table, ranks_of(place), case["kind"], **options).backward()
        for replica in replicas:
            for name, parameter in replica.named_parameters():
                if is_router(name):
                    total[name] = total.get(name, 0) + parameter.grad.float() / case["accumulation"]
            replica.zero_grad()
    return total


def set_checkpointing(model: nn.Module, name: str) -> None:
    options = CHECKPOINTING[name]
    if options is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
        if options["use_reentrant"]:
            model.enable_input_require_grads()


def config_of(case: Case) -> dict[str, Any]:
    """DeepSpeed's."""
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": case["accumulation"],
        "zero_optimization": {"stage": case["stage"]},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": case["dtype"] == "bf16"},
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        **(
            {"gradient_clipping": 0.0, "train_micro_batch_size_per_gpu": "auto"}
            if case["loop"] == "trainer"
            else {"optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}}}
        ),
    }


def compared(
    case: Case, found: dict[str, Tensor], expected: dict[str, Tensor], shaper: Shaper
) -> dict[str, Any]:
    counted = sum(
        int(batch.inputs["attention_mask"].sum())
        for place in range(case["accumulation"])
        for batch in ranks_of(place)
    )
    return {
        "distance": distance(found, expected),
        "tokens": int(shaper.statistics().tokens.sum()),
        "expected_tokens": counted * len(shaper.routers),
    }


if __name__ == "__main__":
    main()
