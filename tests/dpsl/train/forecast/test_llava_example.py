"""examples/llava: every file passes a dry run with neither weights nor data, and counts what is published.

`PRIORLANG_GOLDEN=write pytest tests/dpsl/train/forecast/test_llava_example.py` renews the printed estimate.
"""

from __future__ import annotations

import os
from pathlib import Path

import huggingface_hub
import pytest
import torch
from click.testing import CliRunner

from dpsl.errors import DpslError
from dpsl.train.forecast.tokens import TokenForecast
from dpsl.train.preflight import Preflight, preflight
from priorlang.cli.commands import cli
from priorlang.training import load_plan
from priorlang.training.priors import compiled_priors

LLAVA = Path(__file__).parents[4] / "examples" / "llava"
GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(LLAVA.glob("*.yaml"))

PUBLISHED = {"qwen2-1.5b": 1.54e9, "phi3-mini": 3.82e9, "llama-3.2-1b": 1.24e9}
"""Parameters of the text models as their publishers count them, tied embeddings once."""
CLIP_LARGE = 304e6
LAYERS = {"qwen2-1.5b": 28, "phi3-mini": 32, "llama-3.2-1b": 16}
SIXTEEN = ("upcycle.experts=16", "upcycle.top_k=8", "upcycle.granularity=4")


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing downloaded, no accelerator."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def checked(file: Path, scratch: Path, *settings: str, processes: int = 8) -> Preflight:
    plan = load_plan(file, [f"output_dir={scratch / 'run'}", *settings], allow_absent=True)
    return preflight(plan, compiled_priors(plan), processes, scratch, allow_absent=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_parameters_are_the_published_ones_and_stages_the_papers(file: Path, tmp_path: Path) -> None:
    found = checked(file, tmp_path)
    projector, dense, moe, finetune = found.stages
    parts = dense.census.parts
    assert parts["language_model"].total == pytest.approx(PUBLISHED[file.stem], rel=0.01)
    assert parts["vision_tower"].total == pytest.approx(CLIP_LARGE, rel=0.01)
    assert [stage.samples for stage in found.stages] == [558_128, 1_206_000, 1_206_000, 750_000]
    assert [stage.batch for stage in found.stages] == [128] * 4
    assert [stage.learning_rate for stage in found.stages] == [1e-3, 2e-5, 2e-5, 2e-5]
    assert projector.census.whole.learning == parts["projector"].total
    assert moe.census.whole.total == finetune.census.whole.total
    # Three more copies of every feed-forward layer and the shared one: two of five are idle.
    width = (moe.census.whole.total - dense.census.whole.total - moe.census.parts["routers"].total) // 4
    assert moe.census.whole.total - moe.census.whole.active == 2 * width
    assert moe.weights == (0.01,)
    assert not finetune.tokens
    assert len(moe.tokens) == LAYERS[file.stem]
    assert {count.complete for count in moe.tokens.values()} == {False}
    assert moe.zero == 2
    assert set(moe.memory.offloaded) == {"fp32 copies", "states"}
    assert moe.deepspeed["train_batch_size"] == 128
    assert not [line for line in str(moe.deepspeed).split() if "auto" in line]
    assert any("from the hub" in line for line in found.absent)
    assert any("blip_laion_cc_sbu_558k.json" in line for line in found.absent)


@pytest.mark.parametrize(
    "settings",
    [
        ("prior=priors/llama-3.2-1b/modality.prior",),
        ("prior=priors/llama-3.2-1b/task.prior",),
        ("prior=priors/llama-3.2-1b/symmetric-8in16.prior", *SIXTEEN),
    ],
    ids=["modality", "task", "8-in-16"],
)
def test_other_priors_bind_too(settings: tuple[str, ...], tmp_path: Path) -> None:
    moe = checked(LLAVA / "llama-3.2-1b.yaml", tmp_path, *settings).stages[2]
    images = 687_625_344
    if "modality" in settings[0]:
        assert moe.tokens["layer 3 · vision"] == TokenForecast(images)
        assert moe.tokens["layer 3 · language"] == TokenForecast(0, complete=False)
    if "task" in settings[0]:
        assert (
            sum(count.counted for name, count in moe.tokens.items() if name.startswith("layer 0 ")) == images
        )
    if settings[1:]:
        assert moe.census.parts["routers"].total == 16 * 16 * 2048


def test_what_is_printed(tmp_path: Path) -> None:
    settings = ["--set", f"output_dir={tmp_path / 'run'}"]
    file = LLAVA / "llama-3.2-1b.yaml"
    result = CliRunner().invoke(cli, ["train", str(file), "--processes", "8", "--dry-run", *settings])
    assert result.exit_code == 0, result.output
    plan, separator, estimate = result.output.partition("\nstage ")
    assert "language_model: meta-llama/Llama-3.2-1B" in plan
    text = (separator + estimate).lstrip("\n").replace(str(LLAVA), "examples/llava")
    shown = (LLAVA / "README.md").read_text(encoding="utf-8").split("```")[1].strip()
    assert shown in text, "README.md shows another estimate than is printed"
    golden = GOLDEN / "llama-3.2-1b.txt"
    if os.environ.get("PRIORLANG_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_a_real_run_says_what_is_missing_before_anything_starts(tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = str(LLAVA / "llama-3.2-1b.yaml")
    result = CliRunner().invoke(cli, ["train", file, "--set", f"output_dir={run}"])
    assert result.exit_code == 1
    assert "blip_laion_cc_sbu_558k.json" in result.output
    assert "llava_v1_5_mix665k.json`, which warmup-dense, warmup-moe, finetune need" in result.output
    missing = [line for line in result.output.splitlines() if line.startswith("error[missing-file]")]
    assert len(missing) == len(set(missing)) == 9, "seven files and two folders, each once"
    assert not run.exists()


def test_a_length_that_an_image_alone_fills_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DpslError, match=r"stage projector: max_length: 576: an image alone is 576 tokens"):
        checked(LLAVA / "llama-3.2-1b.yaml", tmp_path, "max_length=576")
    assert checked(LLAVA / "llama-3.2-1b.yaml", tmp_path, "max_length=577").stages


def test_data_that_nobody_describes_has_to_be_there(tmp_path: Path) -> None:
    settings = ["--set", f"output_dir={tmp_path / 'run'}", "--set", "stages.projector.data={path: gone.json}"]
    result = CliRunner().invoke(cli, ["train", str(LLAVA / "llama-3.2-1b.yaml"), "--dry-run", *settings])
    assert result.exit_code == 2
    assert "gone.json" in result.output
