"""`priorlang grid` on the small digits data, from the file to the table, with real training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from priorlang.compare.runs import compare_runs
from tests.priorlang.grid.grid_files import PRIOR

TRAIN = """\
model: {{config: {data}/model/config.json, seed: 1}}
prior: digits.prior
output_dir: run
upcycle: {{experts: 4, top_k: 2, scale: preserve}}
data: {{path: {data}/text.json}}
eval_data: {{path: {data}/heldout-text.json}}
per_device_train_batch_size: 2
logging_steps: 1
learning_rate: 1.0e-3
stages:
  - {{name: dense, train: [language_model], max_steps: 2, eval_data: none}}
  - {{name: shaped, train: [language_model], shape: true, max_steps: 2}}
"""
GRID = """\
base: train.yaml
output_dir: out
vary: {dpsl: {parameters: {base: 1.5}}}
seeds: [3]
metrics: [eval_loss, routing.load_cov, routing.ks, routing.spread, routing.load_cov.3]
"""


def test_a_cell_that_takes_stages_over_ends_as_one_that_trains_them(
    tmp_path: Path, digits_data: Path
) -> None:
    (tmp_path / "digits.prior").write_text(PRIOR)
    (tmp_path / "train.yaml").write_text(TRAIN.format(data=digits_data))
    (tmp_path / "grid.yaml").write_text(GRID)
    cell, alone = tmp_path / "out/cells/dpsl/seed-3", tmp_path / "out/shared/alone"
    assert "1 cell (1 variant, 1 seed), 0 done" in grid(tmp_path, "--dry-run").stdout
    assert not (tmp_path / "out").exists()

    found = json.loads(grid(tmp_path, "--format", "json").stdout)
    values = found["variants"][0]["cells"][0]["values"]
    assert all(isinstance(value, float) for value in values.values()), values
    assert (cell / "report.html").is_file()
    assert "dpsl" in (tmp_path / "out/report.html").read_text(encoding="utf-8")

    # What trained both stages becomes a run that has the first alone to give.
    alone.parent.mkdir(exist_ok=True)
    cell.rename(alone)
    (alone / "stages/shaped/done.json").unlink()
    again = grid(tmp_path)
    assert "[1/1] dpsl, seed 3: done in" in again.stderr
    assert "eval_loss" in again.stdout
    assert "taken over" in (tmp_path / "out/jobs/cells.dpsl.seed-3.log").read_text()
    assert rows(cell) == rows(alone)
    assert (cell / "model/model.safetensors").read_bytes() == (alone / "model/model.safetensors").read_bytes()
    comparison = compare_runs(alone, cell)
    assert comparison.metrics
    assert not comparison.moved
    shutil.rmtree(tmp_path / "out")


def grid(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "priorlang", "grid", "grid.yaml", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run without what depends on the machine's mood."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "tokens_per_second"}
        for line in lines
    ]
