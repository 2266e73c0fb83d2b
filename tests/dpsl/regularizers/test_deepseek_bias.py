"""The bias of loss-free balancing: how it moves, what it counts, and where it is kept."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.regularizers import (
    DeepseekBias,
    ZLoss,
    attach_regularizers,
    remove_selection_bias,
    restore_selection_bias,
)
from dpsl.regularizers.deepseek_bias import updated_bias
from dpsl.regularizers.selection_hook import bias_of
from dpsl.routers.find import find_routers
from dpsl.upcycle import load_model
from tests.dpsl.tiny_models import EXPERTS, batch, tiny

RATE = 0.05
FAMILIES = ("upcycled", "mixtral", "qwen2-moe", "qwen3-moe", "olmoe", "granite-moe", "gpt-oss", "deepseek-v3")


def chosen(model: nn.Module, data: dict[str, Tensor]) -> dict[int, Tensor]:
    """The experts that the tokens of a batch visit, for each layer."""
    found: dict[int, Tensor] = {}
    handles = [
        r.module.register_forward_hook(lambda _m, _i, out, r=r: found.__setitem__(r.layer, out[2]))
        for r in find_routers(model)
    ]
    with torch.no_grad():
        model.eval()(input_ids=data["input_ids"], attention_mask=data["attention_mask"])
    for handle in handles:
        handle.remove()
    return found


def slots(chosen_Nk: Tensor, mask_BS: Tensor) -> Tensor:
    return torch.bincount(chosen_Nk[mask_BS.flatten().bool()].flatten(), minlength=EXPERTS)


def biases(model: nn.Module) -> list[Tensor]:
    return [bias_of(router).clone() for router in find_routers(model)]


@pytest.mark.parametrize("center", [False, True])
def test_the_bias_moves_towards_the_experts_that_took_less(center: bool) -> None:
    change = torch.tensor([-1.0, 1.0, 1.0, 0.0]) * 0.01
    expected = 0.5 + (change - change.mean() if center else change)
    found = updated_bias(torch.full((4,), 0.5), torch.tensor([5.0, 1.0, 0.0, 2.0]), 0.01, center=center)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_counts_every_micro_batch_once_and_no_padding(family: str, checkpointing: bool) -> None:
    model = tiny(family)
    data = [batch(seed) for seed in (1, 2)]
    counts = [sum(slots(chosen(model, d)[layer], d["attention_mask"]) for d in data) for layer in range(2)]
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    regularizers = attach_regularizers(model, [DeepseekBias(update_rate=RATE), ZLoss(coefficient=1e-3)])
    for d in data:
        with regularizers.tokens(mask=d["attention_mask"]):
            model(**d).loss.backward()
    assert all(not bias_K.any() for bias_K in biases(model))
    regularizers.end_step()
    for bias_K, slots_K in zip(biases(model), counts, strict=True):
        assert torch.equal(bias_K, updated_bias(torch.zeros(EXPERTS), slots_K.float(), RATE))
        assert bias_K.any()
    assert regularizers.metrics()["deepseek_bias_range"] == pytest.approx(2 * RATE)
    regularizers.end_step()
    assert torch.equal(biases(model)[0], updated_bias(torch.zeros(EXPERTS), counts[0].float(), RATE))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bias_decides_what_is_chosen_and_stays_when_regularizers_go(family: str) -> None:
    model, data = tiny(family), batch(1, padding=0)
    before = chosen(model, data)[0]
    regularizers = attach_regularizers(model, [DeepseekBias()])
    assert torch.equal(chosen(model, data)[0].sort().values, before.sort().values), (
        "a bias of 0 changes nothing"
    )
    bias_of(find_routers(model)[0]).copy_(torch.tensor([9.0, 0.0, 0.0, 9.0]))
    assert set(chosen(model, data)[0].flatten().tolist()) == {0, 3}
    regularizers.detach()
    assert set(chosen(model, data)[0].flatten().tolist()) == {0, 3}
    assert set(chosen(copy.deepcopy(model), data)[0].flatten().tolist()) == {0, 3}
    if family != "deepseek-v3":
        remove_selection_bias(model)
        assert torch.equal(chosen(model, data)[0].sort().values, before.sort().values)
        assert not any("selection_bias" in name for name in model.state_dict())


def test_load_evens_out() -> None:
    model, data = tiny("mixtral"), batch(3, sequences=8)
    regularizers = attach_regularizers(model, [DeepseekBias(update_rate=0.01, center=True)])

    def unevenness() -> float:
        slots_K = slots(chosen(model, data)[0], data["attention_mask"]).float()
        return float(slots_K.std() / slots_K.mean())

    before = unevenness()
    model.train()
    for _ in range(40):
        with regularizers.tokens(mask=data["attention_mask"]):
            model(**data)
        regularizers.end_step()
    assert unevenness() < before / 2
    assert float(biases(model)[0].mean().abs()) < 1e-6


@pytest.mark.parametrize("family", ["upcycled", "mixtral"])
def test_a_saved_model_is_loaded_with_its_biases(tmp_path: Path, family: str) -> None:
    model, data = tiny(family), batch(1, padding=0)
    attach_regularizers(model, [DeepseekBias()]).detach()
    for router in find_routers(model):
        bias_of(router).copy_(torch.tensor([0.5, 0.25, -0.125, 0.1]))
    model.save_pretrained(tmp_path)
    loaded = load_model(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(biases(loaded), biases(model), strict=True))
    assert torch.equal(chosen(loaded, data)[1].sort().values, chosen(model, data)[1].sort().values)
    regularizers = attach_regularizers(loaded, [DeepseekBias()])
    assert torch.equal(biases(loaded)[0], biases(model)[0]), "training goes on from where it was"
    regularizers.detach()


def test_transformers_own_loading_leaves_the_biases_out_and_they_can_be_put_back(tmp_path: Path) -> None:
    model, data = tiny("mixtral"), batch(1, padding=0)
    attach_regularizers(model, [DeepseekBias()]).detach()
    bias_of(find_routers(model)[0]).copy_(torch.tensor([9.0, 0.0, 0.0, 9.0]))
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    assert set(chosen(loaded, data)[0].flatten().tolist()) != {0, 3}
    assert len(restore_selection_bias(loaded, str(tmp_path))) == 2
    assert set(chosen(loaded, data)[0].flatten().tolist()) == {0, 3}


def test_the_bias_stays_in_float32_when_the_model_is_cast() -> None:
    for family in ("upcycled", "deepseek-v3"):
        model = tiny(family)
        regularizers = attach_regularizers(model, [DeepseekBias(update_rate=1e-3)])
        bias_of(find_routers(model)[0]).fill_(1.0)
        model.to(torch.bfloat16)
        with regularizers.tokens():
            model(**batch(1, padding=0))
        regularizers.end_step()
        bias_K = bias_of(find_routers(model)[0])
        assert bias_K.dtype == torch.float32
        assert float((bias_K - 1).abs().max()) == pytest.approx(1e-3, rel=1e-3)


def test_two_biases_of_one_layer_are_refused() -> None:
    with pytest.raises(AttachError, match="another `deepseek_bias` already"):
        attach_regularizers(tiny("mixtral"), [DeepseekBias(), DeepseekBias(layers=(1,))])


def test_a_router_whose_choice_cannot_be_changed_is_named() -> None:
    model = tiny("phimoe")
    regularizers = attach_regularizers(model, [DeepseekBias()])
    with pytest.raises(AttachError, match="PhimoeTopKRouter cannot be changed"), regularizers.tokens():
        model(**batch(1, padding=0))


@pytest.mark.parametrize("family", ["upcycled", "mixtral"])
def test_a_saved_models_bias_is_removed(family: str, tmp_path: Path) -> None:
    model, data = tiny(family), batch(1)
    before = chosen(model, data)
    attach_regularizers(model, [DeepseekBias()]).detach()
    for bias_K in map(bias_of, find_routers(model)):
        bias_K.copy_(torch.arange(EXPERTS))
    assert not torch.equal(chosen(model, data)[0], before[0])
    model.save_pretrained(tmp_path / "biased")
    loaded = load_model(tmp_path / "biased")
    remove_selection_bias(loaded)
    loaded.save_pretrained(tmp_path / "plain")
    for plain in (loaded, load_model(tmp_path / "plain")):
        assert all(torch.equal(chosen(plain, data)[layer], indices) for layer, indices in before.items())
        assert not any("selection_bias" in name for name in plain.state_dict())


class Engine(nn.Module):
    """As DeepSpeed's: it lends the methods of the model within, and has a config of its own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.module = model
        self.config = {"zero_optimization": {"stage": 2}}

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def test_an_engine_around_the_model() -> None:
    model = tiny("mixtral")
    attach_regularizers(Engine(model), [DeepseekBias()])
    assert model.config.selection_bias == [0, 1]
    remove_selection_bias(Engine(model))
    assert not hasattr(model.config, "selection_bias")
