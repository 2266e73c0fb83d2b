"""A grid file with all that it names, small and without images."""

from __future__ import annotations

import json
from pathlib import Path

PRIOR = """\
priorlang 1
model { layers = 4  experts = 4  top_k = 2 }
attribute modality { vision, language }
param base = 0.75
default base $base weight 0.1
rule vision: for modality vision prefer 0..1 by 0.5
"""

TRAIN = """\
model: {config: model/config.json, seed: 1}
prior: digits.prior
output_dir: run
upcycle: {experts: 4, top_k: 2}
data: {path: data.json}
stages:
  - {name: projector, train: [projector], max_steps: 2}
  - {name: dense, max_steps: 3, seed: 7}
  - {name: shaped, shape: true, max_steps: 4}
  - {name: finetune, moe: true, max_steps: 5}
"""

GRID = """\
base: train.yaml
output_dir: out
vary:
  sparse: {set: {stages.shaped.shape: false, stages.shaped.moe: true}}
  dpsl:
  flat: {parameters: {base: 1.5}}
seeds: [0, 1]
"""


def write_grid(folder: Path, grid: str = GRID, train: str = TRAIN) -> Path:
    """The grid file, beside its training file, prior, model config and data."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 8, "vocab_size": 16}
    (folder / "model" / "config.json").write_text(json.dumps(config))
    (folder / "data.json").write_text("[]")
    (folder / "digits.prior").write_text(PRIOR)
    (folder / "train.yaml").write_text(train)
    file = folder / "grid.yaml"
    file.write_text(grid)
    return file
