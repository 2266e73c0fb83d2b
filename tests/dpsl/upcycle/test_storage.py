"""An upcycled model survives its folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import batch, dense, llava
from torch import nn

import dpsl
from dpsl.errors import UpcycleError

MODELS: dict[str, Callable[[], nn.Module]] = {
    "qwen2 tied": lambda: dense("Qwen2", tie_word_embeddings=True),
    "llama": lambda: dense("Llama"),
    "llava": llava,
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_is_bit_equal(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    dpsl.upcycle(model, layers="first-half", scale="preserve", shared_expert=False)
    model.save_pretrained(tmp_path)
    loaded = dpsl.upcycle.load_model(tmp_path, attn_implementation=model.config._attn_implementation)
    assert type(loaded) is type(model)
    one, other = model.state_dict(), loaded.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert loaded.config.upcycled == model.config.upcycled
    inputs = {"input_ids": batch()["input_ids"]}
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, loaded.eval()(**inputs).logits)
    assert len(loaded(**inputs, output_hidden_states=True).hidden_states) == 3


@pytest.mark.parametrize("name", ["qwen2 tied", "llava"])
def test_tied_embeddings_stay_tied(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    dpsl.upcycle(model)
    model.save_pretrained(tmp_path)
    loaded = dpsl.upcycle.load_model(tmp_path)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_a_second_round_trip(tmp_path: Path) -> None:
    model = MODELS["llava"]()
    dpsl.upcycle(model)
    model.save_pretrained(tmp_path / "one")
    dpsl.upcycle.load_model(tmp_path / "one").save_pretrained(tmp_path / "two")
    again = dpsl.upcycle.load_model(tmp_path / "two").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())


def test_a_dense_model_loads_as_it_is(tmp_path: Path) -> None:
    model = MODELS["llama"]()
    model.save_pretrained(tmp_path)
    loaded = dpsl.upcycle.load_model(tmp_path)
    assert loaded.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("upcycled", [False, True])
def test_no_weight_is_filled_in_at_random(tmp_path: Path, upcycled: bool) -> None:
    model = MODELS["llama"]()
    if upcycled:
        dpsl.upcycle(model)
    weights = {name: weight for name, weight in model.state_dict().items() if "layers.1.mlp" not in name}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(
        UpcycleError, match=r"no weights for model\.layers\.1\.mlp\..* and \d+ more|layers.1.mlp"
    ):
        dpsl.upcycle.load_model(tmp_path)


def test_options_pass_through(tmp_path: Path) -> None:
    model = MODELS["llama"]()
    dpsl.upcycle(model)
    model.save_pretrained(tmp_path)
    assert dpsl.upcycle.load_model(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UpcycleError, match="no model can be read"):
        dpsl.upcycle.load_model(tmp_path / "missing")
    model = MODELS["llama"]()
    dpsl.upcycle(model)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["upcycled"]["experts"] += 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UpcycleError, match="do not have the shapes"):
        dpsl.upcycle.load_model(tmp_path)
    config["upcycled"]["version"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UpcycleError, match="version 1"):
        dpsl.upcycle.load_model(tmp_path)
