"""Training files on the small digits example, and how tests run the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PRIOR = """\
priorlang 1
model {{ layers = 4  experts = 4  top_k = {top_k} }}
attribute modality {{ vision, language }}
default base 0.75 weight 0.1
rule vision: for modality vision prefer 0..1 by 0.5
rule language: for modality language prefer 2..3 by 0.5
"""

HEAD = """\
model: {{config: {data}/model/config.json, seed: 1}}
prior: digits.prior
output_dir: {output}
upcycle: {{experts: 4, top_k: {top_k}, scale: preserve, noise: 0.01}}
data: [{{path: {data}/instruct.json, images: {data}/images}}, {{path: {data}/text.json}}]
eval_data: {{path: {data}/heldout.json, images: {data}/images}}
per_device_train_batch_size: 4
per_device_eval_batch_size: 16
learning_rate: 1.0e-3
logging_steps: 1
save_steps: 2
"""

ALL_STAGES = """\
report_to: tensorboard
regularizers: [{{type: z_loss, coefficient: 0.001}}, {{type: deepseek_bias, update_rate: 0.01}}]
stages:
  - name: vision
    objective: image-labels
    train: [vision_tower]
    max_steps: 2
    data: {{path: {data}/labels.json, images: {data}/images}}
    eval_data: {{path: {data}/heldout-labels.json, images: {data}/images}}
  - {{name: projector, train: [projector], max_steps: 2, gradient_accumulation_steps: 2}}
  - name: shaped
    shape: true
    train: [all-but-vision_tower]
    max_steps: 7
    router_learning_rate: 1.0e-2
    per_device_train_batch_size: 2
    gradient_accumulation_steps: 2
  - {{name: finetune, moe: true, train: [all-but-vision_tower], max_steps: 2, gradient_checkpointing: true}}
"""

ONE_SHAPED_STAGE = """\
regularizers: [{{type: load_balance, coefficient: 0.01}}]
stages:
  - {{name: shaped, shape: true, max_steps: 4, gradient_accumulation_steps: {accumulation}}}
"""


def write_training_file(folder: Path, data: Path, stages: str = ALL_STAGES, **values: Any) -> Path:
    """A training file with its prior in `folder`; the run goes to `folder/run`."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"data": data, "output": folder / "run", "top_k": 2, "accumulation": 1, **values}
    (folder / "digits.prior").write_text(PRIOR.format(**names))
    file = folder / "train.yaml"
    file.write_text((HEAD + stages).format(**names))
    return file


def environment() -> dict[str, str]:
    """One thread each, no network, and nothing of a launcher's."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "MASTER_PORT")
    }
    return {**inherited, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def command(*arguments: object) -> list[str]:
    """The command line of `priorlang train`."""
    return [sys.executable, "-m", "priorlang", "train", *map(str, arguments)]


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `priorlang train` to its end."""
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, check=False)


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def without_speed(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what depends on the machine's mood."""
    return {key: value for key, value in row.items() if key != "tokens_per_second"}
