"""Gradients arrive in one order, whether a batch has images or not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from torch import nn

from dpsl.train.image_parts import run_image_parts_always
from dpsl.train.parts import train_only


@pytest.fixture
def llava(digits_data: Path) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = transformers.LlavaForConditionalGeneration(
        transformers.AutoConfig.from_pretrained(str(digits_data / "model"))
    )
    return model.train()


def batch(model: nn.Module, *, images: bool) -> dict[str, torch.Tensor]:
    config = model.config
    ids = torch.randint(5, 200, (2, 24), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()}
    if images:
        ids[0, :16] = config.image_token_id  # type: ignore[union-attr, index]
        inputs["pixel_values"] = torch.ones(1, 3, 32, 32)
    return inputs


def arrivals(model: nn.Module, inputs: dict[str, torch.Tensor]) -> list[str]:
    """Parameters in the order in which their gradients are complete."""
    order: list[str] = []
    handles = [
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: order.append(name))
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    model(**inputs).loss.backward()
    for handle in handles:
        handle.remove()
    return order


@pytest.mark.parametrize("parts", [["all"], ["all-but-vision_tower"], ["projector"]])
def test_text_batches_meet_the_same_parameters_in_the_same_order(llava: nn.Module, parts: list[str]) -> None:
    train_only(llava, parts)
    expected = arrivals(llava, batch(llava, images=True))
    hooks = run_image_parts_always(llava)
    assert hooks is not None
    assert arrivals(llava, batch(llava, images=True)) == expected
    assert arrivals(llava, batch(llava, images=False)) == expected
    hooks.detach()


def test_the_empty_picture_changes_neither_loss_nor_gradient(llava: nn.Module) -> None:
    inputs = batch(llava, images=False)
    llava(**inputs).loss.backward()
    plain = {name: p.grad.clone() for name, p in llava.named_parameters() if p.grad is not None}
    llava.zero_grad()
    run_image_parts_always(llava)
    llava(**inputs).loss.backward()
    for name, parameter in llava.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, plain.get(name, torch.zeros_like(parameter.grad)))


def test_a_text_model_has_no_image_parts() -> None:
    config = transformers.Qwen2Config(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    assert run_image_parts_always(transformers.Qwen2ForCausalLM(config)) is None
