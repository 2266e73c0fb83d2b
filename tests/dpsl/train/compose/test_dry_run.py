"""Dry runs of a composed model with its parts on this machine: all of them, and some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_parts import write_clip, write_text_model

from priorlang.cli.commands import cli

FILE = """\
model: {{language_model: text, vision_tower: clip{configs}}}
output_dir: run
deepspeed: {{zero_optimization: {{stage: 2}}}}
data: {{path: a.json, images: ., fraction: 0.5}}
"""
CONFIGS = ", configs: {language_model: stand-in/text, vision_tower: stand-in/clip}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_text_model(tmp_path / "text", "Llama")
    write_clip(tmp_path / "clip")
    for part in ("text", "clip"):
        (tmp_path / "stand-in" / part).mkdir(parents=True)
        shutil.copy(tmp_path / part / "config.json", tmp_path / "stand-in" / part)
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    turns = [{"from": "human", "value": "<image>\nwhich?"}, {"from": "gpt", "value": "seven"}]
    (tmp_path / "a.json").write_text(json.dumps([{"image": "a.png", "conversations": turns}] * 8))
    return tmp_path


def dry_run(folder: Path, configs: str = CONFIGS, *options: str) -> Result:
    (folder / "train.yaml").write_text(FILE.format(configs=configs))
    return CliRunner().invoke(cli, ["train", str(folder / "train.yaml"), *(options or ("--dry-run",))])


@pytest.mark.parametrize("configs", ["", CONFIGS])
def test_with_all_parts_the_data_is_read(folder: Path, configs: str) -> None:
    result = dry_run(folder, configs)
    assert result.exit_code == 0, result.output
    assert "Not on this machine" not in result.output
    row = next(line.split() for line in result.output.splitlines() if line.startswith("train "))
    assert row[3:6] == ["4", "8", "1"]


def test_weights_alone_may_be_missing(folder: Path) -> None:
    (folder / "text" / "model.safetensors").unlink()
    result = dry_run(folder)
    assert result.exit_code == 0, result.output
    assert f"{folder / 'text'}: weights\n" in result.output
    assert "vocabulary" not in result.output


def test_without_a_processor_data_has_to_be_described(folder: Path) -> None:
    (folder / "clip" / "preprocessor_config.json").unlink()
    result = dry_run(folder)
    assert result.exit_code == 1
    assert "add `expected: {records: …}`" in result.output


def test_a_real_run_refuses_a_part_without_weights(folder: Path) -> None:
    (folder / "text" / "model.safetensors").unlink()
    result = dry_run(folder, CONFIGS, "--quiet")
    assert result.exit_code == 1
    assert "the folder has no weights" in result.output
    assert not (folder / "run").exists()
