"""A LLaVA from tiny parts: the weights are theirs, it learns, it is saved, it becomes a mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_parts import write_clip, write_text_model
from transformers import AutoModelForImageTextToText, AutoProcessor

import dpsl
from dpsl.errors import ModelError
from dpsl.train.compose import compose_model, compose_processor
from priorlang.training.model_plan import ComposedPlan

FAMILIES = ("Qwen2", "Phi3", "Llama")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_clip(folder / "clip")
    for family in FAMILIES:
        write_text_model(folder / family, family, tied=family != "Phi3")
    return folder


def plan_of(parts: Path, family: str = "Qwen2", **options: Any) -> ComposedPlan:
    return ComposedPlan(
        language_model=str(parts / family),
        vision_tower=str(parts / "clip"),
        **{"vision_feature_layer": -2, **options},
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_of_the_parts(parts: Path, family: str) -> None:
    from transformers import AutoModelForCausalLM, CLIPModel

    model: Any = compose_model(plan_of(parts, family))
    text = AutoModelForCausalLM.from_pretrained(parts / family)
    tower = CLIPModel.from_pretrained(parts / "clip").vision_model
    vocabulary = text.config.vocab_size
    for name, weight in text.model.state_dict().items():
        mine = model.model.language_model.state_dict()[name]
        assert torch.equal(mine[:vocabulary] if name == "embed_tokens.weight" else mine, weight), name
    assert torch.equal(model.lm_head.weight[:vocabulary], text.lm_head.weight)
    mine = model.model.vision_tower.state_dict()
    assert mine.keys() == tower.state_dict().keys()
    assert all(torch.equal(mine[name], weight) for name, weight in tower.state_dict().items())
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    assert tied == text.config.tie_word_embeddings
    assert not any(parameter.is_meta for parameter in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_learns_is_saved_and_becomes_a_mixture(parts: Path, family: str, tmp_path: Path) -> None:
    plan = plan_of(parts, family)
    processor = compose_processor(plan)
    model: Any = compose_model(plan, processor=processor)
    batch = batch_of(processor)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        losses.append(model(**batch).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    model.save_pretrained(tmp_path / "llava")
    processor.save_pretrained(tmp_path / "llava")
    again: Any = AutoModelForImageTextToText.from_pretrained(tmp_path / "llava")
    assert torch.equal(again.eval()(**batch).logits, model.eval()(**batch).logits)
    assert batch_of(AutoProcessor.from_pretrained(tmp_path / "llava"))["input_ids"].equal(batch["input_ids"])
    receipt = dpsl.upcycle(model, experts=4, top_k=2, noise=0.0, scale="preserve")
    assert receipt.holds
    torch.testing.assert_close(model(**batch).logits, again(**batch).logits, rtol=1e-4, atol=1e-4)


def batch_of(processor: Any) -> dict[str, torch.Tensor]:
    from PIL import Image

    text = "USER: <image>\nwhich digit? ASSISTANT: seven</s>"
    batch = processor(images=Image.new("RGB", (20, 30), "red"), text=text, return_tensors="pt")
    shown = (batch["input_ids"] == processor.image_token_id).sum()
    assert shown == 4
    return {**batch, "labels": batch["input_ids"]}


def test_a_full_vocabulary_grows_by_rows_that_are_the_mean(parts: Path) -> None:
    processor = compose_processor(plan_of(parts))
    model: Any = compose_model(plan_of(parts), processor=processor)
    table = model.get_input_embeddings().weight
    assert table.shape[0] == model.config.text_config.vocab_size == 320
    assert model.config.image_token_id == processor.image_token_id >= 258
    torch.testing.assert_close(table[258:], table[:258].mean(0).expand(62, -1))


def test_a_vocabulary_with_room_stays(parts: Path, tmp_path: Path) -> None:
    write_text_model(tmp_path / "roomy", "Llama", vocabulary=261)
    model: Any = compose_model(
        plan_of(tmp_path, "roomy").model_copy(update={"vision_tower": str(parts / "clip")})
    )
    assert model.get_input_embeddings().weight.shape[0] == 261


def test_the_seed_is_the_projectors_alone(parts: Path) -> None:
    one, same, other = (compose_model(plan_of(parts, seed=seed)).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert {name.split(".")[1] for name in one if not torch.equal(one[name], other[name])} == {
        "multi_modal_projector"
    }


def test_conversations_are_llavas_and_end_where_the_tokenizer_says(parts: Path) -> None:
    processor = compose_processor(plan_of(parts))
    content = [{"type": "image"}, {"type": "text", "text": "which digit?"}]
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "seven"}]
    said = processor.apply_chat_template(turns, tokenize=False)
    assert said == "USER: <image>\nwhich digit? ASSISTANT: seven</s>"
    assert processor.apply_chat_template(
        turns[:1], tokenize=False, add_generation_prompt=True
    ) == said.removesuffix(" seven</s>")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"language_model": "clip"}, "no dense text model"),
        ({"vision_tower": "Llama"}, "no CLIP vision tower"),
        ({"vision_feature_layer": -9}, "has 3 layers"),
        ({"chat": "own"}, "no chat template"),
        ({"language_model": "nowhere"}, "no tokenizer here"),
    ],
)
def test_what_cannot_be_composed(parts: Path, change: dict[str, Any], words: str) -> None:
    given = {
        key: str(parts / value) if key in ("language_model", "vision_tower") else value
        for key, value in change.items()
    }
    with pytest.raises(ModelError, match=words):
        compose_model(plan_of(parts).model_copy(update=given))


def test_weights_that_are_not_there_are_not_made_up(parts: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_text_model(tmp_path / "lacking", "Qwen2")
    weights = load_file(tmp_path / "lacking" / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, tmp_path / "lacking" / "model.safetensors", metadata={"format": "pt"})
    plan = plan_of(parts).model_copy(update={"language_model": str(tmp_path / "lacking")})
    with pytest.raises(ModelError, match=r"no weights for .*layers\.1\.mlp\.down_proj"):
        compose_model(plan)
