"""docs/regularizers.md: every block of it is valid as printed, and says what the registry says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from priorlang.training import load_plan
from priorlang.training.regularizers import REGULARIZERS
from tests.dpsl.tiny_models import batch, tiny

PAGE = (Path(__file__).parents[3] / "docs/regularizers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
YAML = [text for language, text in BLOCKS if language == "yml"]
(PYTHON,) = [text for language, text in BLOCKS if language == "python"]
PRIOR = """\
priorlang 1
model { layers = 4 experts = 4 top_k = 2 }
attribute modality { vision, language }
default base 1 weight 0.01
"""


@pytest.mark.parametrize("text", YAML)
def test_training_files_with_its_blocks_are_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(
        '{"num_hidden_layers": 4, "num_local_experts": 4, "num_experts_per_tok": 2}'
    )
    (tmp_path / "data.json").write_text("[]")
    (tmp_path / "modality.prior").write_text(PRIOR)
    head = "model: {config: config.json}\nprior: modality.prior\noutput_dir: runs\ndata: {path: data.json}\nmoe: true\n"
    (tmp_path / "train.yaml").write_text(head + text)
    assert load_plan(tmp_path / "train.yaml").stages[0].regularizers


def test_every_type_and_option_is_described_with_its_default() -> None:
    for name, plan in REGULARIZERS.items():
        assert any(f"type: {name}," in text for text in YAML), name
        section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
        shared = PAGE.split("\n## Options that all losses have\n")[1].split("\n## ")[0]
        for option in set(plan.model_fields) - {"type"}:
            assert f"`{option}`" in section + shared, (name, option)
    assert "| `update_rate` | 0.001 |" in PAGE
    assert "| `a`, `b` | 0.6, 0.4 |" in PAGE


def test_the_python_of_the_page_runs() -> None:
    model = tiny("mixtral")
    names: dict[str, Any] = {
        "model": model,
        "batches": [batch(1), batch(2)],
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "print": lambda metrics: names.__setitem__("metrics", metrics),
    }
    exec(PYTHON, names)
    assert {"z_loss", "load_balance", "deepseek_bias_range"} <= set(names["metrics"])
