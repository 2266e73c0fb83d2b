"""Routers copied from another model: upcycled before, or a mixture of transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_models import dense, tiny

import dpsl
from dpsl.errors import UpcycleError
from dpsl.upcycle import upcycle_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    dense("Llama").save_pretrained(tmp_path / "dense")
    tiny("upcycled").save_pretrained(tmp_path / "upcycled")
    tiny("mixtral").save_pretrained(tmp_path / "mixtral")
    return tmp_path


def routers(model: torch.nn.Module) -> list[torch.Tensor]:
    return [layer.mlp.router.weight for layer in model.model.layers if hasattr(layer.mlp, "router")]


@pytest.mark.parametrize("source", ["upcycled", "mixtral"])
def test_in_memory_and_in_folders(folder: Path, source: str) -> None:
    other = tiny(source)
    expected = routers(other) or [layer.mlp.gate.weight for layer in other.model.layers]
    upcycle_folder(folder / "dense", folder / "moe", router_from=folder / source, noise=0.0)
    for given in (folder / source, other):
        model = dpsl.load_model(folder / "dense")
        receipt = dpsl.upcycle(model, router_from=given, noise=0.0)
        assert receipt.holds
        assert model.config.upcycled["router"] == "copied"
        pairs = [expected, routers(model), routers(dpsl.load_model(folder / "moe"))]
        for first, *others in zip(*pairs, strict=True):
            assert all(torch.equal(first, one) for one in others)


def test_some_layers(folder: Path) -> None:
    model = dpsl.load_model(folder / "dense")
    dpsl.upcycle(model, router_from=folder / "upcycled", layers=[1])
    assert torch.equal(routers(model)[0], routers(dpsl.load_model(folder / "upcycled"))[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"router_from": "dense"}, "router_from=.*dense: it has no routers"),
        (
            {"router_from": "upcycled", "experts": 8},
            "for 4 experts and hidden states 32 wide, here are 8 exp",
        ),
        ({"router_from": "half"}, r"no router in layer 1; it has them in 0; say layers=\[0\]"),
        ({"router_from": "none"}, "none: there is no model.safetensors"),
        ({"router_from": "upcycled", "granularity": 2, "experts": 4, "top_k": 1}, None),
    ],
)
def test_what_does_not_fit(folder: Path, options: dict[str, object], message: str | None) -> None:
    half = dense("Llama")
    dpsl.upcycle(half, layers=[0])
    half.save_pretrained(folder / "half")
    asked = {**options, "router_from": folder / str(options["router_from"])}
    if message is None:
        receipt = upcycle_folder(folder / "dense", folder / "moe", noise=0.0, **asked)
        assert receipt.theory == "none: parts of FFNs are chosen one by one"
        return
    with pytest.raises(UpcycleError, match=message):
        upcycle_folder(folder / "dense", folder / "moe", **asked)
    with pytest.raises(UpcycleError, match=message):
        dpsl.upcycle(dpsl.load_model(folder / "dense"), **asked)
    assert not (folder / "moe").exists()
