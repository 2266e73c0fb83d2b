"""transformers' own loading of an upcycled folder: after `import dpsl`, and on a machine without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from tiny_models import batch, dense, llava
from torch import nn

import dpsl
from dpsl.registration import CONFIGS
from dpsl.upcycle.classes import UPCYCLED

MODELS: dict[str, Callable[[], nn.Module]] = {
    "Llama": lambda: dense("Llama"),
    "Qwen2": lambda: dense("Qwen2", tie_word_embeddings=True),
    "Phi3": lambda: dense("Phi3"),
    "Llava": llava,
}

ELSEWHERE = """
import sys
sys.modules["dpsl"] = sys.modules["priorlang"] = None
import torch
import transformers

folder = sys.argv[1]
ids = torch.load(f"{folder}/ids.pt")
for mode, options in (("without dpsl", {"trust_remote_code": True}), ("dpsl last", {})):
    if mode == "dpsl last":
        del sys.modules["dpsl"], sys.modules["priorlang"]
        import dpsl
    for name in ("Llama", "Qwen2", "Phi3", "Llava"):
        auto = transformers.AutoModelForImageTextToText if name == "Llava" else transformers.AutoModelForCausalLM
        place = f"{folder}/{name}"
        for _ in range(2):
            model = auto.from_pretrained(place, attn_implementation="eager", **options).eval()
            assert type(model).__name__.startswith(f"Upcycled{name}")
            assert type(model).__module__.startswith("dpsl." if mode == "dpsl last" else "transformers_modules.")
            assert (model(input_ids=ids).logits - torch.load(f"{folder}/{name}.pt")).abs().max() < 1e-6
            assert model.generate(input_ids=ids[:1], max_new_tokens=2, do_sample=False).shape == (1, 14)
            place = f"{folder}/{mode} {name}"
            model.save_pretrained(place)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("upcycled")
    ids = batch()["input_ids"]
    torch.save(ids, base / "ids.pt")
    for name, build in MODELS.items():
        torch.manual_seed(0)
        model = build().eval()
        dpsl.upcycle(model, experts=8, top_k=4, granularity=2)
        model.save_pretrained(base / name)
        with torch.no_grad():
            torch.save(model(input_ids=ids).logits, base / f"{name}.pt")
    return base


def test_in_another_process(folder: Path) -> None:
    """Without dpsl, by the code in the folder; and with dpsl, imported when transformers has long been."""
    finished = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder)],
        env={**os.environ, "HF_MODULES_CACHE": str(folder / "modules"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("name", MODELS)
def test_in_this_process(folder: Path, name: str) -> None:
    auto = transformers.AutoModelForImageTextToText if name == "Llava" else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder / name)
    assert type(model) in UPCYCLED.values()
    assert model.config.upcycled["granularity"] == 2


def test_without_dpsl_or_trust_nothing_loads_by_halves(folder: Path) -> None:
    """A model type of its own: a dense class would fill the experts' places with random weights."""
    for name in MODELS:
        config = json.loads((folder / name / "config.json").read_text())
        assert config["model_type"] not in transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES
        assert config["auto_map"]["AutoConfig"].startswith("modeling_upcycled.")
        assert {"modeling_upcycled.py", "block.py"} <= {file.name for file in (folder / name).iterdir()}


def test_every_class_is_announced() -> None:
    announced = {(model.config_class.model_type, model.config_class.__name__) for model in UPCYCLED.values()}
    assert announced == set(CONFIGS.items())


def test_announcing_costs_no_import() -> None:
    code = "import dpsl, sys; assert not {'torch', 'transformers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
