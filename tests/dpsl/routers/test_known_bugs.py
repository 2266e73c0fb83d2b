"""Each way in which router losses are known to go wrong elsewhere, shown to be absent."""

from __future__ import annotations

import pytest
import torch
from batches import micro_batch, table_of
from explicit import is_router
from families import build
from tables import symmetric_table
from test_injection import CHECKPOINTING, set_checkpointing
from tiny_models import EXPERTS, LAYERS
from torch import Tensor, nn

import dpsl
from dpsl.errors import AttachError
from tests.dpsl.gradients import gradients

TASK_WEIGHT = (3.0, 0.7)


def shaping_gradients(
    model: nn.Module, accumulation: int = 1, weights: tuple[float, float] = TASK_WEIGHT
) -> dict[str, Tensor]:
    """The routers' gradients of equal micro-batches: the task's, and the prior's above it."""
    batch = micro_batch(0)

    def run(shaper: dpsl.Shaper | None) -> dict[str, Tensor]:
        for _ in range(accumulation):
            if shaper is None:
                loss = model(**batch.inputs).loss
            else:
                with shaper.tokens(mask=batch.inputs["attention_mask"], modality=batch.modality):
                    loss = model(**batch.inputs).loss
            (loss / accumulation).backward()
        return {name: gradient for name, gradient in gradients(model).items() if is_router(name)}

    task = run(None)
    shaper = dpsl.attach(model, table_of(2, weights), ranks="sort")
    whole = run(shaper)
    shaper.detach()
    return {name: whole[name] - task[name] for name in task}


def test_accumulation_does_not_multiply_the_gradient() -> None:
    """Elsewhere the auxiliary gradient grows with gradient_accumulation_steps."""
    once, eight = (shaping_gradients(build("mixtral"), accumulation) for accumulation in (1, 8))
    for name, gradient in once.items():
        assert gradient.norm() > 1e-3
        assert (eight[name] - gradient).norm() < 1e-4 * gradient.norm()


@pytest.mark.parametrize("kind", ["upcycled", "qwen3-vl-moe", "llama4"])
def test_reentrant_checkpointing_does_not_drop_it(kind: str) -> None:
    """Elsewhere logits caught in the first pass carry no gradient."""
    model = build(kind)
    set_checkpointing(model, CHECKPOINTING["reentrant"])
    for gradient in shaping_gradients(model).values():
        assert gradient.norm() > 1e-3


class Collapsed(nn.Module):
    """Two layers of gates, each of which prefers one half of the experts for every token."""

    def __init__(self, *, opposed: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Module() for _ in range(LAYERS))
        for place, block in enumerate(self.blocks):
            block.gate = nn.Linear(8, EXPERTS, bias=True)
            nn.init.normal_(block.gate.weight, std=0.05)
            half = torch.tensor([4.0, 4.0, 0.0, 0.0])
            block.gate.bias.data.copy_(half.flip(0) if place and opposed else half)

    def forward(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        return {"loss": sum(block.gate(hidden_NH).softmax(-1).square().sum() for block in self.blocks)}


def test_layers_are_not_pooled() -> None:
    """Two layers that collapse onto opposite experts balance as one; each is as far from its prior as before."""
    values = []
    for opposed in (True, False):
        model = Collapsed(opposed=opposed)
        shaper = dpsl.attach(model, symmetric_table(weight=1.0), ranks="sort", routers="blocks.*.gate")
        torch.manual_seed(0)
        with shaper.tokens():
            model(torch.randn(200, 8))["loss"].backward()
        values.append(shaper.metrics())
        assert values[-1]["dpsl"] > 50 * (values[-1]["dpsl"] - values[-1]["dpsl_above_floor"])
        assert [values[-1][f"layer.{layer}.load_max"] for layer in range(LAYERS)] == pytest.approx([2.0, 2.0])
    assert values[0]["dpsl"] == pytest.approx(values[1]["dpsl"], rel=0.05)


def test_multimodal_wrappers_need_no_flag() -> None:
    """Elsewhere `output_router_logits` is ignored by wrappers, and the loss is silently nothing."""
    model = build("qwen3-vl-moe")
    assert model(**micro_batch(0).inputs).get("router_logits") is None
    assert all(gradient.norm() > 1e-3 for gradient in shaping_gradients(model).values())


def test_routers_that_were_swapped_out_are_told() -> None:
    """As AutoEP does in deepspeed.initialize: hooks on the old modules would never run."""
    model, (inputs, modality) = build("mixtral"), micro_batch(0)
    shaper = dpsl.attach(model, table_of(2))
    model.model.layers = build("mixtral").model.layers
    with (
        pytest.raises(
            AttachError, match=r"none of the routers .* ran .*; attach after deepspeed\.initialize"
        ),
        shaper.tokens(mask=inputs["attention_mask"], modality=modality),
    ):
        model(**inputs)


@pytest.mark.parametrize("kind", ["deepseek-v3", "llama4"])
def test_sigmoid_scores_below_every_floor_still_learn(kind: str) -> None:
    """Elsewhere scores below 1e-20 are cut off: gradients vanish or are NaN."""
    model = build(kind)
    assert_logits_far_below_zero(model)
    for gradient in shaping_gradients(model).values():
        assert bool(gradient.isfinite().all())
        assert gradient.norm() > 1e-3


def assert_logits_far_below_zero(model: nn.Module) -> None:
    """Shift every gate's logits by −60, where σ is 1e-26, as a trained router could have them."""
    seen = []
    for router in (m for m in model.modules() if type(m).__name__.endswith("Router")):
        linear_in = router.weight.shape[1]
        router.register_forward_pre_hook(
            lambda _m, inputs: (
                torch.cat([inputs[0][..., :-1], torch.full_like(inputs[0][..., -1:], 1.0)], -1),
            )
        )
        with torch.no_grad():
            router.weight[:, linear_in - 1] = -60.0
        seen.append(router)
    assert len(seen) == LAYERS


@pytest.mark.parametrize("kind", ["upcycled", "gpt-oss", "deepseek-v3"])
def test_bf16_routers_get_the_gradient_of_wide_ones(kind: str) -> None:
    """Elsewhere probabilities in bf16 lose the tail that the loss reads; here the loss is worked out in float32."""
    narrow = shaping_gradients(build(kind, dtype=torch.bfloat16), weights=(30.0, 7.0))
    wide_model = build(kind, dtype=torch.bfloat16).float()
    wide = shaping_gradients(wide_model, weights=(30.0, 7.0))
    for name, gradient in wide.items():
        assert (narrow[name] - gradient).norm() < 0.1 * gradient.norm(), name
