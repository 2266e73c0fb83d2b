"""Every method on every backbone, with every other option somewhere: folder, memory, Auto classes, generation, training on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import batch, dense, llava
from torch import nn

import dpsl
from dpsl.upcycle import upcycle_folder

BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "Llama": lambda: dense("Llama", mlp_bias=True),
    "Qwen2 tied": lambda: dense("Qwen2", tie_word_embeddings=True),
    "Phi3": lambda: dense("Phi3"),
    "LLaVA": llava,
}
METHODS: dict[str, dict[str, object]] = {
    "sparse": {"noise": 0.02},
    "8 in 16": {"experts": 16, "top_k": 8, "granularity": 4, "noise": 0.0},
    "drop": {"method": "drop", "drop_ratio": 0.3},
    "drop per matrix": {"method": "drop", "drop_indices": "per-matrix", "granularity": 2, "top_k": 2},
    "btx": {"method": "btx", "experts": 2, "top_k": 1},
}
SCALES = (None, "preserve", "he", "he-down")
LAYERS: tuple[str | list[int], ...] = ("all", "every-other", "first-half", [1])
PARTS = (3, 6, 16)
"""Some other divisors of 48, the width of the tiny FFNs."""


@dataclass(frozen=True)
class Case:
    """A method on a backbone, and what else is asked for."""

    backbone: str
    options: dict[str, object]
    dtype: torch.dtype


def case_of(number: int, method: str, backbone: str) -> Case:
    """Other options turn at different speeds, so that each of their values meets each method or backbone."""
    row, column = divmod(number, len(BACKBONES))
    options = {
        **METHODS[method],
        "scale": SCALES[(row + column) % 4],
        "layers": LAYERS[(row + 2 * (column % 2) + column // 2) % 4],
        "shared_expert": (row + column // 2) % 2 == 0,
        "renormalize": (row // 2 + column) % 2 == 0,
        "seed": number,
    }
    return Case(backbone, options, (torch.float32, torch.bfloat16)[(row + column) % 2])


CASES = {
    f"{method}, {backbone}": case_of(number, method, backbone)
    for number, (method, backbone) in enumerate(product(METHODS, BACKBONES))
} | {
    f"{parts} parts": Case(
        tuple(BACKBONES)[number % 4],
        {
            "granularity": parts,
            "experts": 2 * parts,
            "top_k": parts,
            "noise": 0.0,
            "scale": SCALES[number % 4],
        },
        torch.float32,
    )
    for number, parts in enumerate(PARTS)
}


def saved(case: Case, folder: Path, seed: int = 0) -> Path:
    """A dense checkpoint in many shards, no bias of which is zero."""
    torch.manual_seed(seed)
    model = BACKBONES[case.backbone]()
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.1)
    model.to(case.dtype).save_pretrained(folder, max_shard_size="6KB")
    assert len(list(folder.glob("*.safetensors"))) > 4
    return folder


def auto(case: Case, folder: Path) -> nn.Module:
    classes = {"LLaVA": transformers.AutoModelForImageTextToText}
    model = classes.get(case.backbone, transformers.AutoModelForCausalLM).from_pretrained(
        folder, dtype="auto"
    )
    return model.eval()


@pytest.mark.parametrize("name", CASES)
def test_folder_memory_generation_and_training_on(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    source, options = saved(case, tmp_path / "dense"), dict(case.options)
    if options.get("method") == "btx":
        options["branches"] = [source, saved(case, tmp_path / "other", seed=1)]
    receipt = upcycle_folder(source, tmp_path / "moe", **options)
    model, loaded = auto(case, source), auto(case, tmp_path / "moe")
    assert dpsl.upcycle(model, **options) == receipt
    assert receipt.holds in (True, None)
    assert type(loaded) is type(model)
    assert loaded.config.upcycled == model.config.upcycled
    one, other = model.state_dict(), loaded.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)

    inputs = batch(padding=0)
    asked = {"input_ids": inputs["input_ids"][:2], "max_new_tokens": 3, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(loaded.generate(**asked), model.generate(**asked))

    loaded.train()
    loaded(**inputs).loss.backward()
    torch.optim.SGD(loaded.parameters(), lr=0.5).step()
    routed = [parameter for part, parameter in loaded.named_parameters() if ".experts." in part]
    assert all(parameter.grad is not None for parameter in routed)
    assert any(bool(parameter.grad.any()) for parameter in routed)
    loaded.save_pretrained(tmp_path / "trained")
    trained, again = loaded.state_dict(), auto(case, tmp_path / "trained").state_dict()
    assert trained.keys() == again.keys()
    assert all(torch.equal(trained[key], again[key]) for key in trained)


def test_every_value_is_met() -> None:
    """Each value of each option with each method, and each backbone."""
    grid = list(CASES.values())[: len(METHODS) * len(BACKBONES)]
    for key, count in (("scale", 4), ("layers", 4), ("shared_expert", 2), ("renormalize", 2)):
        for row in range(len(METHODS)):
            of_method = {str(case.options[key]) for case in grid[4 * row : 4 * row + 4]}
            assert len(of_method) == count
        for backbone in BACKBONES:
            assert len({str(case.options[key]) for case in grid if case.backbone == backbone}) == count
    assert {case.dtype for case in grid} == {torch.float32, torch.bfloat16}
