"""Branch-Train-MiX: experts from several dense models, and the mean of everything else."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from tiny_models import batch, dense, llava
from torch import nn

import dpsl
from dpsl.errors import UpcycleError
from dpsl.upcycle.ffn import weights_of

FAMILIES = ("Llama", "Qwen2", "Phi3")


def trained_apart(family: str, count: int, **options: object) -> list[nn.Module]:
    models = []
    for seed in range(count):
        torch.manual_seed(seed)
        models.append((llava() if family == "LLaVA" else dense(family, **options)).eval())
    return models


@pytest.mark.parametrize("family", [*FAMILIES, "LLaVA"])
def test_experts_are_the_branches_and_the_rest_is_their_mean(family: str) -> None:
    branches = trained_apart(family, 3)
    model = copy.deepcopy(branches[0])
    dpsl.upcycle(model, "btx", experts=3, top_k=1, branches=branches)
    layers = [one.get_decoder().layers for one in branches]
    for index, layer in enumerate(model.get_decoder().layers):
        for expert, branch in zip(layer.mlp.experts, layers, strict=True):
            new, old = weights_of(expert), weights_of(branch[index].mlp)
            assert all(torch.equal(*pair) for pair in zip(new.all(), old.all(), strict=True))
        mean = sum(weights_of(branch[index].mlp).up_FH for branch in layers) / 3
        assert torch.allclose(weights_of(layer.mlp.shared_expert).up_FH, mean, atol=1e-7)
    others = {name: w for name, w in model.state_dict().items() if ".mlp." not in name or "vision" in name}
    assert len(others) > 10
    for name, weight in others.items():
        mean = sum(branch.state_dict()[name].double() for branch in branches) / 3
        assert torch.allclose(weight.double(), mean, atol=1e-6), name


def test_branches_that_are_one_model_give_its_function() -> None:
    (branch,) = trained_apart("Qwen2", 1)
    model = trained_apart("Qwen2", 2)[1]
    receipt = dpsl.upcycle(
        model, "btx", experts=8, top_k=4, granularity=4, scale="preserve", branches=[branch, branch]
    )
    inputs = batch()["input_ids"]
    with torch.no_grad():
        assert torch.allclose(model(input_ids=inputs).logits, branch(input_ids=inputs).logits, atol=1e-6)
    assert receipt.largest_difference < 1e-7


def test_branches_from_folders(tmp_path: Path) -> None:
    branches = trained_apart("Llama", 2)
    for index, branch in enumerate(branches):
        branch.save_pretrained(tmp_path / str(index))
    folders = [tmp_path / "0", str(tmp_path / "1")]
    models = [copy.deepcopy(branches[0]) for _ in range(2)]
    dpsl.upcycle(models[0], "btx", experts=2, branches=folders)
    dpsl.upcycle(models[1], "btx", experts=2, branches=branches)
    one, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert models[0].config.upcycled["branches"] == list(map(str, folders))


@pytest.mark.parametrize(
    ("experts", "branches", "message"),
    [
        (2, [], "several dense models, here are 0"),
        (4, [("Llama", {}), ("Llama", {})], "2 branches cut into 1 give 2; ask for experts=2"),
        (
            2,
            [("Llama", {}), ("Llama", {"intermediate_size": 40})],
            r"is \[40, 32\], in the others \[48, 32\]",
        ),
        (2, [("Llama", {}), ("Llama", {"vocab_size": 50})], r"is \[50, 32\], in the others \[48, 32\]"),
        (2, [("Llama", {}), ("Qwen2", {})], "which the others have not"),
        (2, [("Llama", {}), ("Phi3", {})], "it has no"),
    ],
)
def test_branches_of_different_kinds_are_refused(
    experts: int, branches: list[tuple[str, dict[str, object]]], message: str
) -> None:
    models = [trained_apart(family, 1, **options)[0] for family, options in branches]
    model = trained_apart("Llama", 1)[0]
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UpcycleError, match=message):
        dpsl.upcycle(model, "btx", experts=experts, branches=models)
    assert all(torch.equal(weight, model.state_dict()[name]) for name, weight in before.items())


def test_branches_belong_to_btx() -> None:
    (model,) = trained_apart("Llama", 1)
    with pytest.raises(UpcycleError, match="'sparse' has one dense model"):
        dpsl.upcycle(model, branches=[model, model])
