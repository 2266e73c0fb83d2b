"""Faults of the machine and of the run: one message with the place and the fix, nothing lost, a resume that works."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import priorlang
from tests.dpsl.train.training_files import (
    ONE_SHAPED_STAGE,
    command,
    environment,
    rows,
    train,
    write_training_file,
)

LIMIT = 400_000
"""Bytes that a file may have: more than those of a run before its first checkpoint, less than the model's."""

ONE_PLAIN_STAGE = """\
stages:
  - {{name: projector, train: [projector], max_steps: 6}}
"""


def told_once(said: str, *words: str) -> None:
    """One message, and no traceback."""
    assert "Traceback" not in said, said
    messages = [line for line in said.splitlines() if line.startswith(("error:", "interrupted"))]
    assert len(messages) == 1, said
    for word in words:
        assert word in messages[0]


def begin(file: Path, *options: object) -> subprocess.Popen[str]:
    """A run of many steps, once it has its first checkpoint."""
    process = subprocess.Popen(
        command(file, *options, "--set", "stages.shaped.max_steps=200"), env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=hear_interrupts,
    )  # fmt: skip
    marker = file.parent / "run" / "stages" / "shaped" / "checkpoint-2" / "complete.json"
    while not marker.is_file():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    return process


def hear_interrupts() -> None:
    """A shell's background jobs ignore interrupts, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def worker_of(run: Path) -> int:
    """The process of one rank."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"dpsl.train.worker" in line and str(run).encode() in line:
                return int(entry.name)
    raise AssertionError("no worker is running")


def test_a_killed_rank(digits_data: Path, tmp_path: Path) -> None:
    file = write_training_file(tmp_path, digits_data, ONE_SHAPED_STAGE)
    process = begin(file, "--processes", 2)
    os.kill(worker_of(tmp_path / "run"), signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    told_once(said, "of 2", "SIGKILL", f"--resume {tmp_path / 'run'}", "stage shaped after step")


def test_an_interrupt_and_a_prior_that_changed_since(digits_data: Path, tmp_path: Path) -> None:
    file = write_training_file(tmp_path, digits_data, ONE_SHAPED_STAGE)
    process = begin(file)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    told_once(said, f"--resume {tmp_path / 'run'}", "stage shaped after step")
    prior = file.parent / "digits.prior"
    prior.write_text(prior.read_text().replace("by 0.5", "by 0.7"))
    priorlang.compile(priorlang.load(prior)).save(tmp_path / "run" / "prior.safetensors")
    refused = train("--resume", tmp_path / "run")
    assert refused.returncode == 2
    told_once(refused.stderr, "checkpoint-", "another prior", "begin a new run")


def test_a_full_disk_at_a_checkpoint(digits_data: Path, tmp_path: Path) -> None:
    file = write_training_file(tmp_path, digits_data, ONE_SHAPED_STAGE)
    full = subprocess.run(
        command(file, "--quiet"), env=environment(), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )  # fmt: skip
    assert full.returncode == 2
    run = tmp_path / "run"
    told_once(full.stderr, str(run), "the disk is full", f"--resume {run}", "stage shaped from its beginning")
    assert not list(run.glob("stages/shaped/checkpoint-*")), "what was half-written takes no space"
    resumed = train("--resume", run, "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    assert [row["step"] for row in rows(run) if "loss" in row] == [1, 2, 3, 4]


def test_a_loss_that_is_no_number(digits_data: Path, tmp_path: Path) -> None:
    file = write_training_file(tmp_path, digits_data, ONE_PLAIN_STAGE)
    stopped = train(file, "--quiet", "--set", "learning_rate=1.0e30", "--set", "save_steps=1")
    assert stopped.returncode == 1
    told_once(
        stopped.stderr,
        "stages/projector, step ",
        "the loss is nan",
        "the last checkpoint is of step",
        "learning_rate",
    )
