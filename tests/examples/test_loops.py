"""The loops that docs/loops.md points to: each runs as it stands, alone and as two processes, under every launcher."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.xdist_group("loops")

# launcher → its command
LAUNCHERS = {
    "none": [sys.executable],
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
    "deepspeed": [str(BIN / "deepspeed"), "--num_accelerators", "1", "--master_port", "0"],
    "accelerate": [str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"],
}  # fmt: skip


def run(launcher: str, example: str, *options: object) -> str:
    """What an example prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*LAUNCHERS[launcher], f"examples/{example}/train.py", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_loop_of_one_s_own() -> None:
    """The batch is that of all processes: any number of them prints the same, to rounding."""
    lines = {launcher: run(launcher, "raw_deepspeed", "--steps", 3) for launcher in ("deepspeed", "torchrun")}
    found = {
        launcher: re.findall(r"step (\d): loss \S+ dpsl (\S+), top1 (\S+)", said)
        for launcher, said in lines.items()
    }
    assert [step for step, _, _ in found["deepspeed"]] == ["1", "2", "3"]
    for (_, dpsl, top1), (_, dpsl_of_two, top1_of_two) in zip(
        found["deepspeed"], found["torchrun"], strict=True
    ):
        assert float(dpsl_of_two) == pytest.approx(float(dpsl), rel=0.02)
        assert float(top1_of_two) == pytest.approx(float(top1), rel=0.02)
    for said in lines.values():
        assert len(re.findall(r"layer \d · (?:vision|language): \d+ % of its slots", said)) == 4


def test_the_loop_has_under_sixty_lines() -> None:
    assert len((ROOT / "examples" / "raw_deepspeed" / "train.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("launcher", ["none", "accelerate"])
def test_transformers_trainer(launcher: str, tmp_path: Path) -> None:
    said = run(launcher, "hf_trainer", "--steps", 2, "--output", tmp_path)
    assert said.count("'dpsl':") == 2, "one process prints the rows"
    assert "layer.0" not in said
    shares = re.findall(r"layer \d · (vision|language, digit|language, parity): experts 0 to 5 take", said)
    assert len(shares) == 6
