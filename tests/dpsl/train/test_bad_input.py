"""What is told before the first step: one message with the place and the fix, no traceback, no run folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.dpsl.train.training_files import ALL_STAGES, environment, write_training_file

ROOT = Path(__file__).parents[3]
ATTRIBUTE = "attribute task { digit, parity }\nattribute modality"


def broken(digits: Path, folder: Path) -> Path:
    """Training data with an image that is none, one that is missing, and a record without conversations."""
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"no image")
    turns = [{"from": "human", "value": "<image>\nWhich?"}, {"from": "gpt", "value": "one"}]
    records = [
        {"id": "a", "image": "bad.png", "conversations": turns},
        {"id": "b", "image": "gone.png", "conversations": turns},
        {"id": "c"},
    ]
    (folder / "records.json").write_text(json.dumps(records))
    return folder / "records.json"


# name → (old, new in the training file, old, new in the prior, exit code, words on standard error)
CASES: dict[str, tuple[tuple[str, str], tuple[str, str], int, tuple[str, ...]]] = {
    "fits": (("", ""), ("", ""), 0, ()),
    "prior-experts": (("", ""), ("experts = 4", "experts = 8"), 1, ("experts", "8", "4")),
    "prior-layers": (("", ""), ("layers = 4", "layers = 6"), 1, ("layers", "6", "4")),
    "attribute": (("", ""), ("attribute modality", ATTRIBUTE), 1, ("task", "`unknown`")),
    "fewer-experts": (("experts: 4", "experts: 1"), ("", ""), 1, ("train.yaml:4", "experts")),
    "top-k": (("top_k: 2", "top_k: 5"), ("", ""), 1, ("train.yaml:4", "`top_k` is 5")),
    "unknown-key": (("learning_rate:", "lerning_rate:"), ("", ""), 1, ("did you mean `learning_rate`",)),
    "part": (("train: [projector]", "train: [projecter]"), ("", ""), 1, ("did you mean `projector`",)),
    "argument": (("save_steps: 2", "training_arguments: {adam_epsilom: 1}"), ("", ""), 1, ("`adam_epsilon`",)),
    "scheduler": (("save_steps: 2", "lr_scheduler_type: cosin"), ("", ""), 1, ("cosin",)),
    "images": (("{DATA}/instruct.json", "{BROKEN}"), ("", ""), 1, ("bad.png", "gone.png", "conversations")),
    "prior-syntax": (("", ""), ("default base", "defalt base"), 1, ("digits.prior:4",)),
    "prior-missing": (("digits.prior", "digit.prior"), ("", ""), 1, ("train.yaml:2", "digit.prior")),
    "weights": (("model: {config: {DATA}/model/config.json, seed: 1}", "model_name_or_path: {DATA}/model"), ("", ""), 1,
                ("no weights", "model: {config:")),
    "unwritable": (("output_dir: {RUN}", "output_dir: {FILE}/run"), ("", ""), 2, ("cannot write",)),
    "in-use": (("output_dir: {RUN}", "output_dir: {DATA}"), ("", ""), 2, ("not empty",)),
    "no-run": (("", ""), ("", ""), 2, ("no run to resume",)),
    "no-file": (("", ""), ("", ""), 2, ("there is no", "absent.yaml")),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each case was told."""
    base = tmp_path_factory.mktemp("bad")
    records = broken(digits_data, base / "broken")
    lines = []
    for name, (in_file, in_prior, _exit, _words) in CASES.items():
        file = write_training_file(base / name, digits_data, ALL_STAGES)
        prior = file.parent / "digits.prior"
        prior.write_text(prior.read_text().replace(*in_prior))
        known = {"{DATA}": digits_data, "{BROKEN}": records, "{RUN}": base / name / "run", "{FILE}": prior}
        old, new = in_file
        for mark, value in known.items():
            old, new = old.replace(mark, str(value)), new.replace(mark, str(value))
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new) if old else file.read_text())
        lines.append({"fits": ["train", str(file), "--dry-run"], "no-run": ["train", "--resume", str(base)],
                      "no-file": ["train", str(base / "absent.yaml")]}.get(name, ["train", str(file)]))  # fmt: skip
    finished = subprocess.run(
        [sys.executable, "-m", "tests.dpsl.train.invoke_many"], input=json.dumps(lines),
        env=environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    results: list[dict[str, Any]] = json.loads(finished.stdout.splitlines()[-1])
    for name, result in zip(CASES, results, strict=True):
        result["folder"] = base / name
    return dict(zip(CASES, results, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(told: dict[str, dict[str, Any]], name: str) -> None:
    result = told[name]
    _, _, code, words = CASES[name]
    assert not result["crash"], result["crash"]
    assert result["exit"] == code, result["stderr"]
    assert "Traceback" not in result["stderr"]
    for word in words:
        assert word in result["stderr"]
    assert not (result["folder"] / "run").exists()


def test_a_dry_run_prints_the_resolved_file_and_the_plan(told: dict[str, dict[str, Any]]) -> None:
    said = told["fits"]["stdout"]
    assert "per_device_train_batch_size: 4" in said
    assert "layers 0..3 · language" in said
    plan = {
        line.split()[0]: line.split()
        for line in said.partition("\nparameters")[0].splitlines()
        if line.startswith(("shaped ", "projector "))
    }
    assert plan["shaped"][-4:] == ["7", "1", "0.001", "0.1"]
    assert plan["projector"][4:6] == ["8", "2"]
