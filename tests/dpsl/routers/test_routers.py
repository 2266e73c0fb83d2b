"""Routers are found wherever a model keeps them, and their outputs are read for what they are."""

from __future__ import annotations

import pytest
import torch
import transformers
from tables import symmetric_table
from tiny_models import BUILDERS, EXPERTS, LAYERS, TOP_K, VOCABULARY, batch, dense, llava, tiny
from torch import nn

import dpsl
from dpsl.errors import AttachError
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter, Scoring, layer_of
from dpsl.routers.output import effective_logits, infer_scoring, read_output, with_carrier


def qwen3_vl_moe() -> nn.Module:
    shape = {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 2,
    }
    text = {
        **shape, "vocab_size": VOCABULARY, "num_experts": EXPERTS, "num_experts_per_tok": TOP_K, "head_dim": 8,
        "intermediate_size": 48, "moe_intermediate_size": 24, "decoder_sparse_step": 1,
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": 32}
    config = transformers.Qwen3VLMoeConfig(text_config=text, vision_config=vision)
    return transformers.Qwen3VLMoeForConditionalGeneration(config)


@pytest.mark.parametrize("kind", BUILDERS)
def test_every_layer_is_found(kind: str) -> None:
    top_k = 1 if kind == "mixtral-top-1" else TOP_K
    routers = find_routers(tiny(kind))
    assert [(router.layer, router.experts, router.top_k) for router in routers] == [
        (layer, EXPERTS, top_k) for layer in range(LAYERS)
    ]


def test_nested_in_a_multimodal_model() -> None:
    assert [router.name for router in find_routers(qwen3_vl_moe())] == [
        f"model.language_model.layers.{layer}.mlp.gate" for layer in range(LAYERS)
    ]


def test_upcycled_in_a_multimodal_model() -> None:
    model = llava()
    dpsl.upcycle(model, experts=EXPERTS, top_k=TOP_K)
    assert [router.name for router in find_routers(model)] == [
        f"model.language_model.layers.{layer}.mlp.router" for layer in range(LAYERS)
    ]


def test_dense_layers_before_the_first_router() -> None:
    torch.manual_seed(0)
    config = transformers.DeepseekV3Config(
        **{**tiny("deepseek-v3").config.to_dict(), "first_k_dense_replace": 1}
    )
    assert [router.layer for router in find_routers(transformers.DeepseekV3ForCausalLM(config))] == [1]


def test_a_dense_model_has_none() -> None:
    with pytest.raises(AttachError, match=r"Qwen2ForCausalLM: no router found; .*dpsl\.upcycle"):
        find_routers(dense())


def test_chosen_by_name() -> None:
    model = tiny("mixtral")
    (router,) = find_routers(model, ["model.layers.1.mlp.gate"])
    assert router.layer == 1
    with pytest.raises(AttachError, match=r"did you mean 'model\.layers\.1\.mlp\.gate'"):
        find_routers(model, ["model.layers.1.mlp.gatte"])


def test_two_routers_in_a_layer_are_named() -> None:
    one, two = (FoundRouter(f"layers.0.{name}", nn.Linear(2, 2), 0, 2, 1, 0, "own") for name in "ab")
    with pytest.raises(AttachError, match=r"layers\.0\.a and layers\.0\.b.*routers="):
        find_routers(nn.Module(), [one, two])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.gate", 3),
        ("transformer.h.12.moe.experts.4.gate", 12),
        ("gate", None),
        ("0.gate", 0),
    ],
)
def test_layer_of(name: str, layer: int | None) -> None:
    assert layer_of(name) == layer


SCORING = {"deepseek-v3": Scoring.SIGMOID}


@pytest.mark.parametrize("kind", BUILDERS)
def test_scoring_is_told_from_the_output(kind: str) -> None:
    model = tiny(kind)
    seen: list[tuple[FoundRouter, object]] = []
    for router in find_routers(model):
        router.module.register_forward_hook(
            lambda _m, _a, output, router=router: seen.append((router, output))
        )
    model(**batch())
    for router, output in seen:
        read = read_output(router, output)
        assert infer_scoring(read, router.top_k) in (SCORING.get(kind, Scoring.SOFTMAX), None)
        assert torch.equal(read.indices_Nk, output[2])
        assert read.combined is output[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("scoring", [Scoring.SOFTMAX, Scoring.SIGMOID])
def test_scoring_of_made_up_scores(scoring: Scoring, spread: float, top_k: int, dtype: torch.dtype) -> None:
    logits = (torch.randn(200, 8, generator=torch.Generator().manual_seed(1)) * spread).to(dtype)
    probability = logits.float().sigmoid() if scoring is Scoring.SIGMOID else logits.float().softmax(-1)
    scores, indices = probability.topk(top_k)
    read = read_output(_router(0), (logits, scores.to(dtype), indices))
    assert infer_scoring(read, top_k) is scoring


def test_dense_sigmoid_scores_in_the_first_place() -> None:
    """The form of Llama 4: scores [N, K], zero for the others, then logits."""
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    values, indices = logits.topk(2)
    scores = torch.full_like(logits, -torch.inf).scatter(1, indices, values).sigmoid()
    read = read_output(_router(1), (scores, logits))
    assert read.combined is scores
    assert infer_scoring(read, 2) is Scoring.SIGMOID


def test_probabilities_in_place_of_logits() -> None:
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    probability = logits.softmax(-1)
    read = read_output(_router(0), (probability, *probability.topk(2)))
    assert infer_scoring(read, 2) is Scoring.PROBABILITIES
    again = effective_logits(probability, Scoring.PROBABILITIES).softmax(-1)
    assert torch.allclose(again, probability, atol=1e-6)


def test_sigmoid_logits_give_normalised_scores() -> None:
    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    normalised = logits.sigmoid() / logits.sigmoid().sum(-1, keepdim=True)
    assert torch.allclose(effective_logits(logits, Scoring.SIGMOID).softmax(-1), normalised, atol=1e-6)


def test_equal_logits_tell_nothing() -> None:
    logits = torch.zeros(5, 4)
    assert infer_scoring(read_output(_router(0), (logits, *logits.softmax(-1).topk(2))), 2) is None


def test_output_without_logits_is_named() -> None:
    for output in (torch.zeros(3), (torch.zeros(3, 2, dtype=torch.int64),), "nothing", ()):
        with pytest.raises(AttachError, match=r"layer 0 \(layers\.0\.gate\)"):
            read_output(_router(0), output)


def test_logits_alone_are_replaced_whole() -> None:
    logits = torch.zeros(2, 3, 4)
    read = read_output(_router(0), logits)
    assert read.recorded_NK.shape == (6, 4)
    assert with_carrier(logits, read, logits + 1).sum() == 24


def test_the_prior_must_fit_the_logits() -> None:
    model = tiny("mixtral")
    (one, two) = find_routers(model)
    unsure = [
        FoundRouter(router.name, router.module, router.layer, None, None, 0, "own") for router in (one, two)
    ]
    shaper = dpsl.attach(model, symmetric_table(experts=6), routers=unsure)
    with pytest.raises(AttachError, match=r"experts = 6.*has 4"), shaper.tokens():
        model(**batch())


def _router(logits_index: int) -> FoundRouter:
    return FoundRouter("layers.0.gate", nn.Identity(), 0, 8, 2, logits_index, "own")
