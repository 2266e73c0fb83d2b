"""The loops that docs/loops.md points to: each runs as it stands, alone and as two processes, under every launcher.

One launch runs them all, one after another: importing the engine takes longer than their steps.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

# launcher → its command
LAUNCHERS = {
    "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"],
    "deepspeed": [str(BIN / "deepspeed"), "--num_accelerators", "1", "--master_port", "0"],
    "accelerate": [str(BIN / "accelerate"), "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"],
}  # fmt: skip
LOOPS = ("raw_deepspeed", "trl_sft", "hf_trainer")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What each example prints, for each launcher."""
    options = {
        "raw_deepspeed": "--steps,3",
        "trl_sft": "--steps,2,--packing",
        "hf_trainer": "--steps,2",
    }
    printed = {}
    for launcher, names in (("deepspeed", LOOPS), ("torchrun", LOOPS), ("accelerate", ("hf_trainer",))):
        folder = tmp_path_factory.mktemp(launcher)
        wanted = [
            f"{name},{options[name]}" + (f",--output,{folder / name}" if name != "raw_deepspeed" else "")
            for name in names
        ]
        parts = re.split(r"^== (\w+)\n", run(launcher, *wanted), flags=re.MULTILINE)
        printed[launcher] = dict(zip(parts[1::2], parts[2::2], strict=True))
    return printed


def run(launcher: str, *wanted: str) -> str:
    """What a launch prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*LAUNCHERS[launcher], str(HERE / "run_many.py"), *wanted]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_loop_of_one_s_own(said: dict[str, dict[str, str]]) -> None:
    """The batch is that of all processes: any number of them prints the same, to rounding."""
    lines = {launcher: said[launcher]["raw_deepspeed"] for launcher in ("deepspeed", "torchrun")}
    found = {
        launcher: re.findall(r"step (\d): loss \S+ dpsl (\S+), top1 (\S+)", text)
        for launcher, text in lines.items()
    }
    assert [step for step, _, _ in found["deepspeed"]] == ["1", "2", "3"]
    for (_, dpsl, top1), (_, dpsl_of_two, top1_of_two) in zip(
        found["deepspeed"], found["torchrun"], strict=True
    ):
        assert float(dpsl_of_two) == pytest.approx(float(dpsl), rel=0.02)
        assert float(top1_of_two) == pytest.approx(float(top1), rel=0.02)
    for text in lines.values():
        assert len(re.findall(r"layer \d · (?:vision|language): \d+ % of its slots", text)) == 4


def test_the_loop_has_under_sixty_lines() -> None:
    assert len((ROOT / "examples" / "raw_deepspeed" / "train.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("launcher", ["deepspeed", "torchrun", "accelerate"])
def test_transformers_trainer(launcher: str, said: dict[str, dict[str, str]]) -> None:
    text = said[launcher]["hf_trainer"]
    assert text.count("'dpsl':") == 2, "one process prints the rows"
    assert "layer.0" not in text
    shares = re.findall(r"layer \d · (vision|language, digit|language, parity): experts 0 to 5 take", text)
    assert len(shares) == 6


@pytest.mark.parametrize("launcher", ["deepspeed", "torchrun"])
def test_trl_s_trainer(launcher: str, said: dict[str, dict[str, str]]) -> None:
    text = said[launcher]["trl_sft"]
    assert text.count("'dpsl':") == 2, "one process prints the rows"
    assert len(re.findall(r"layer \d · (?:vision|language): \d+ % of its slots", text)) == 4
