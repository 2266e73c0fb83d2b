"""Upcycling: what the mixture computes, what the receipt says, and what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import LAYERS, batch, dense, llava
from torch import nn

import dpsl
from dpsl.errors import UpcycleError, UpcycleOptionsError
from dpsl.upcycle import Receipt
from dpsl.upcycle.block import UpcycledMoE
from dpsl.upcycle.plan import UpcyclePlan

FAMILIES = ("Qwen2", "Llama", "Phi3")


def seeded(family: str = "Qwen2", **options: object) -> nn.Module:
    torch.manual_seed(0)
    return dense(family, **options).eval()


def logits(model: nn.Module) -> torch.Tensor:
    inputs = batch()
    with torch.no_grad():
        return model(input_ids=inputs["input_ids"]).logits


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_preserve_keeps_the_dense_function(family: str, top_k: int, shared: bool) -> None:
    model = seeded(family)
    before = logits(model)
    receipt = dpsl.upcycle(model, top_k=top_k, shared_expert=shared, noise=0.0, scale="preserve")
    assert torch.allclose(logits(model), before, atol=1e-6)
    assert receipt.largest_difference < 1e-7
    assert receipt.largest_output > 1e-3


@pytest.mark.parametrize("scale", [None, "preserve"])
@pytest.mark.parametrize("shared", [True, False])
def test_the_block_is_equation_5(scale: str | None, shared: bool) -> None:
    model = seeded()
    dpsl.upcycle(model, experts=3, top_k=2, shared_expert=shared, noise=0.1, scale=scale)
    block = model.model.layers[0].mlp
    hidden = torch.randn(2, 5, 32)
    found = block(hidden)
    for token, output in zip(hidden.reshape(-1, 32), found.reshape(-1, 32), strict=True):
        gates = (block.router.weight @ token).softmax(0)
        chosen = gates.topk(2).indices.tolist()
        expected = sum(gates[i] * block.experts[i](token) for i in chosen)
        if shared:
            expected = expected + block.shared_expert(token)
        if scale == "preserve":
            expected = expected / (gates[chosen].sum() + shared)
        assert torch.allclose(output, expected, atol=1e-6)


def test_every_expert_has_a_gradient() -> None:
    """Also one that no token chose: ranks must agree on which parameters to reduce."""
    model = seeded()
    dpsl.upcycle(model, experts=8, top_k=1)
    block = model.model.layers[0].mlp
    block(torch.randn(3, 32)).sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


def test_copies_noise_and_router() -> None:
    model = seeded()
    original = copy.deepcopy(model.model.layers[1].mlp)
    dpsl.upcycle(model, experts=4, noise=0.05)
    block = model.model.layers[1].mlp
    noise = torch.stack([e.up_proj.weight - original.up_proj.weight for e in block.experts]).detach()
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert abs(float(noise.mean())) < 0.003
    assert not torch.equal(noise[0], noise[1])
    assert torch.equal(block.shared_expert.up_proj.weight, original.up_proj.weight)
    assert block.router.weight.detach().std() == pytest.approx(0.02, rel=0.3)


def test_a_seed_is_a_model_whatever_the_global_state() -> None:
    models = []
    for global_seed, seed in ((1, 7), (2, 7), (2, 8)):
        model = seeded()
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        dpsl.upcycle(model, seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        models.append(model.state_dict())
    one, same, other = models
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_receipt_counts_parameters() -> None:
    model = seeded()
    before = sum(p.numel() for p in model.parameters())
    ffn = sum(p.numel() for p in model.model.layers[0].mlp.parameters())
    receipt = dpsl.upcycle(model, experts=4, top_k=2)
    router = 4 * 32
    assert receipt == Receipt(
        layers=tuple(range(LAYERS)),
        parameters_before=before,
        parameters_after=before + LAYERS * (4 * ffn + router),
        active_parameters=before + LAYERS * (2 * ffn + router),
        largest_difference=receipt.largest_difference,
        largest_output=receipt.largest_output,
        theory="none: there is noise",
        theory_error=None,
        holds=None,
        noise_share=receipt.noise_share,
    )


def test_the_receipt_tells_how_loud_the_noise_is() -> None:
    model = seeded()
    model.model.layers[1].mlp.up_proj.weight.data.fill_(0.1)
    smaller = min(
        float(p.detach().square().mean().sqrt())
        for layer in model.model.layers
        for p in layer.mlp.parameters()
    )
    loud, silent = dpsl.upcycle(copy.deepcopy(model), noise=0.01), dpsl.upcycle(model, noise=0.0)
    assert loud.noise_share == pytest.approx(0.01 / smaller, rel=1e-5)
    assert any("of a weight matrix's root mean square" in line for line in loud.lines())
    assert silent.noise_share is None
    assert not any("noise:" in line for line in silent.lines())


@pytest.mark.parametrize(
    ("layers", "routed"),
    [("all", [0, 1, 2]), ("every-other", [0, 2]), ("first-half", [0, 1]), ([2, 0], [0, 2])],
)
def test_layers(layers: str | list[int], routed: list[int]) -> None:
    model = seeded(num_hidden_layers=3)
    assert dpsl.upcycle(model, layers=layers).layers == tuple(routed)
    assert [i for i, layer in enumerate(model.model.layers) if isinstance(layer.mlp, UpcycledMoE)] == routed


def test_a_multimodal_model_keeps_its_tower() -> None:
    torch.manual_seed(0)
    model = llava().eval()
    before = logits(model)
    dpsl.upcycle(model, noise=0.0, scale="preserve")
    assert torch.allclose(logits(model), before, atol=1e-6)
    assert all(
        "vision" not in name for name, module in model.named_modules() if isinstance(module, UpcycledMoE)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_generate(family: str) -> None:
    model = seeded(family)
    inputs = batch()
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    before = model.generate(input_ids=inputs["input_ids"][:2], **options)
    dpsl.upcycle(model, noise=0.0, scale="preserve")
    assert torch.equal(model.generate(input_ids=inputs["input_ids"][:2], **options), before)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "method": ({"method": "sparce"}, "did you mean 'sparse'"),
    "scale": ({"scale": "half"}, "what exists is None, 'preserve', 'he', 'he-down'"),
    "router": ({"router": "zero"}, "did you mean 'zeros'"),
    "drop indices": ({"drop_indices": "share"}, "did you mean 'shared'"),
    "experts": ({"experts": 1, "top_k": 1}, "at least two"),
    "very many experts": ({"experts": 10**9}, "at most 4,096 can be made"),
    "layers that are none": ({"layers": None}, "which layers route"),
    "one layer": ({"layers": 1}, "which layers route"),
    "experts as text": ({"experts": "4"}, "experts='4': it is a whole number"),
    "top_k": ({"experts": 4, "top_k": 5}, "1 up to 4"),
    "parts of experts": ({"experts": 6, "granularity": 4, "top_k": 4}, "ask for a multiple of 4"),
    "parts of the FFN": ({"experts": 10, "granularity": 5, "top_k": 5}, "48 wide.*choose from 1, 2, 3"),
    "virtual groups": ({"experts": 16, "granularity": 4, "top_k": 6}, "top_k=8, or for router='normal'"),
    "noise": ({"noise": -1.0}, "standard deviation"),
    "noise that is none": ({"noise": float("nan")}, "standard deviation"),
    "router's deviation": ({"router_std": 0.0}, "`router: zeros`"),
    "drop ratio": ({"method": "drop", "drop_ratio": 1.0}, "between 0 and 1"),
    "drop ratio of another method": ({"drop_ratio": 0.5}, "'sparse' drops nothing"),
    "layers": ({"layers": [0, 9]}, "no dense FFN in layer 9"),
    "layers as text": ({"layers": [0, "1"]}, "'1' is no layer index"),
    "no layers": ({"layers": []}, "no layer is named"),
    "layer choice": ({"layers": "every-othr"}, "did you mean 'every-other'"),
    "seed": ({"seed": -1}, "seed=-1"),
    "a shared expert that is a word": ({"shared_expert": "no"}, "shared_expert='no': it is yes or no"),
    "a number for yes": ({"renormalize": 1}, "renormalize=1: it is yes or no"),
    "branches of what is none": ({"method": "btx", "branches": 7}, "branches=7: they are dense models"),
    "branches of things": ({"method": "btx", "branches": [1, 2]}, r"branches=\[1, 2\]: they are dense"),
    "one branch": ({"method": "btx", "branches": "abc"}, r"branches=\['abc'\]: .* here are 1;"),
    "routers from nowhere": ({"router": "copied"}, "nothing says from where"),
    "routers from two places": ({"router": "zeros", "router_from": "x"}, "leave out one of the two"),
    "routers from a number": ({"router_from": 3}, "router_from=3: it is a model with experts"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_built_is_refused_untouched(case: str) -> None:
    options, message = WRONG[case]
    model = seeded()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UpcycleError, match=message):
        dpsl.upcycle(model, **options)
    assert before.keys() == model.state_dict().keys()


def test_every_option_that_cannot_be_is_named_at_once() -> None:
    with pytest.raises(UpcycleOptionsError) as caught:
        dpsl.upcycle(
            seeded(), "sparce", experts=0, shared_expert="no", noise=-1, layers=[7], granularity=5, seed=1.5
        )
    assert str(caught.value).splitlines()[0] == "7 options cannot be:"
    named = {error.place.partition("=")[0] for error in caught.value.found}
    assert named == {"method", "experts", "shared_expert", "noise", "layers", "granularity", "seed"}
    assert caught.value.place == "method='sparce'"


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ({"top_k": 9}, "top_k is 9: a token can go to 1 up to 4 experts"),
        ({"shared_expert": 1}, "shared_expert is 1: it is yes or no"),
        ({"layers": ["0"]}, "layers is .*indices of decoder layers"),
        ({"experts": None}, "experts is None"),
        ({"version": 1}, "version 1 is not known"),
    ],
)
def test_a_changed_config_is_held_to_the_same(harm: dict[str, object], message: str) -> None:
    model = seeded()
    dpsl.upcycle(model)
    stored = model.config.upcycled
    assert UpcyclePlan.from_config(stored).to_config() == stored
    with pytest.raises(UpcycleError, match=message):
        UpcyclePlan.from_config({**stored, **harm})
    del stored["noise"]
    with pytest.raises(UpcycleError, match="no 'noise'"):
        UpcyclePlan.from_config(stored)


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    model, branch = seeded(), seeded()
    branch.model.layers[1].mlp.up_proj.weight.data[3, 4] = value
    with pytest.raises(UpcycleError, match=r"Qwen2.*: model.layers.1.mlp.up_proj.weight: 1 of its 1,536 val"):
        dpsl.upcycle(branch)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UpcycleError, match=r"branch .*up_proj.weight: 1 of"):
        dpsl.upcycle(model, "btx", experts=2, branches=[model, branch])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_an_output_that_overflows_is_told() -> None:
    model = seeded().half()
    for weight in model.model.layers[1].mlp.parameters():
        weight.data.fill_(6e4)
    with pytest.raises(UpcycleError, match=r"layer 1: the output of the dense FFN .* overflows float16"):
        dpsl.upcycle(model, noise=0.0)
    assert not any(isinstance(module, UpcycledMoE) for module in model.modules())


def test_weights_that_are_elsewhere_are_refused() -> None:
    with torch.device("meta"):
        model = dense()
    with pytest.raises(UpcycleError, match="not loaded"):
        dpsl.upcycle(model)


def test_a_second_time_is_refused() -> None:
    model = seeded()
    dpsl.upcycle(model)
    with pytest.raises(UpcycleError, match="layer 0 is upcycled already"):
        dpsl.upcycle(model)


def test_a_model_without_gated_ffns_is_refused() -> None:
    with pytest.raises(UpcycleError, match="Linear: no decoder layers"):
        dpsl.upcycle(nn.Linear(2, 2))
