"""Branch-Train-MiX in one training file: a seed, branches on data of their own, and the mixture of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import dpsl
from priorlang.routing.statistics import RoutingStatistics
from tests.dpsl.train.training_files import train, write_training_file

BRANCHED = """\
num_train_epochs: 1
stages:
  - {{name: seed, train: [language_model], max_steps: 1}}
  - {{name: instruct, start_from: seed, train: [all-but-vision_tower], max_steps: 2,
      data: {{path: {data}/instruct.json, images: {data}/images}}}}
  - {{name: prose, start_from: seed, train: [all-but-vision_tower], max_steps: 2, data: {{path: {data}/text.json}}}}
  - name: mix
    shape: true
    max_steps: 1
    learning_rate: 0.0
    upcycle: {{method: btx, experts: 4, top_k: 2, granularity: 2, branches: [instruct, prose], scale: preserve}}
"""


@pytest.fixture(scope="module")
def file(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write_training_file(tmp_path_factory.mktemp("branches"), digits_data, BRANCHED)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("eval_data")))
    return file


def test_from_data_to_mixture(file: Path) -> None:
    said = train(file)
    assert said.returncode == 0, said.stderr
    stages = file.parent / "run" / "stages"
    seed, instruct, prose, mix = (
        dpsl.upcycle.load_model(stages / name / "model").state_dict()
        for name in ("seed", "instruct", "prose", "mix")
    )
    down = "model.language_model.layers.1.mlp.{}down_proj.weight"
    halves = [
        branch[down.format("")].chunk(2, dim=1)[part] for branch in (instruct, prose) for part in range(2)
    ]
    for index, half in enumerate(halves):
        assert torch.allclose(mix[down.format(f"experts.{index}.")], half, atol=1e-7)
    mean = (instruct[down.format("")] + prose[down.format("")]) / 2
    assert torch.allclose(mix[down.format("shared_expert.")], mean, atol=1e-7)
    norm = "model.language_model.norm.weight"
    assert torch.allclose(mix[norm], (instruct[norm] + prose[norm]) / 2, atol=1e-7)
    assert not torch.equal(instruct[norm], prose[norm])
    vision = next(name for name in seed if "vision_tower" in name and name.endswith("weight"))
    assert torch.equal(seed[vision], prose[vision])
    receipt = json.loads((stages / "mix" / "receipt.json").read_text())
    assert receipt["layers"] == [0, 1, 2, 3]
    assert "theory: none: experts come from different models" in said.stderr
    assert re.search(r"upcycled layers 0\.\.3: [\d,]+ parameters became", said.stderr)
    assert not (stages / "prose" / "receipt.json").exists()
    # Nothing is held out: the routing is that of training records, of both modalities.
    routing = RoutingStatistics.read(stages / "mix" / "routing.safetensors")
    assert (routing.tokens > 0).all()
    assert (routing.load.sum(1) == 2 * routing.tokens).all()
    assert re.search(r"mix: routing of the first \d+ training records, as none are held out", said.stderr)
