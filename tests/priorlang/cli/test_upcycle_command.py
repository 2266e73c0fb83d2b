"""`priorlang upcycle`: a folder in, a folder and its receipt out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from click.testing import CliRunner, Result

from priorlang.cli.commands import cli


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, ["upcycle", *map(str, words)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "dense")
    return tmp_path


def test_a_receipt_for_people_and_for_programs(folder: Path) -> None:
    options = ("--set", "granularity=4", "--set", "experts=16", "--set", "top_k=8", "--set", "noise=0")
    result = run(folder / "dense", "-o", folder / "moe", *options)
    assert result.exit_code == 0, result.output
    assert "upcycled layers 0..1" in result.stdout
    assert "theory: 1 + Σ gates / 4 times the dense output; holds" in result.stdout
    result = run(folder / "dense", "-o", folder / "two", *options, "--set", "layers=[1]", "--format", "json")
    assert json.loads(result.stdout)["layers"] == [1]
    one = run(folder / "dense", "-o", folder / "three", *options, "--set", "layers=[1]")
    assert one.stdout.startswith("upcycled layer 1: ")
    assert json.loads(result.stdout) == json.loads((folder / "two" / "receipt.json").read_text())


@pytest.mark.parametrize(
    ("setting", "exits", "words"),
    [
        ("granularty=4", 2, "did you mean `granularity`"),
        ("granularity=3", 2, "ask for a multiple of 3"),
        ("method=dorp", 2, "did you mean `drop`"),
        ("top_k", 2, "is not NAME=VALUE, as in experts=4"),
        ("branches=captions", 2, "`branches` is captions: method 'sparse' has one dense model"),
        ("method=btx", 2, "`branches` is none: Branch-Train-MiX"),
        (
            "layers=first",
            2,
            "first-half or a list of numbers (did you mean `first-half`?), here it is `first`",
        ),
        ("layers=[0,0]", 2, "layer 0 is named twice; name each layer once"),
        (
            "noise=1e30",
            2,
            "of the mixture on hidden states of unit variance overflows float32; lower noise=1e+30",
        ),
        ("layers=[9]", 2, "no dense FFN in layer 9"),
    ],
)
def test_mistakes(folder: Path, setting: str, exits: int, words: str) -> None:
    result = run(folder / "dense", "-o", folder / "moe", "--set", setting)
    assert result.exit_code == exits, result.output
    assert words in result.output
    assert not (folder / "moe").exists()


def test_each_mistake_is_at_the_option_that_made_it(folder: Path) -> None:
    def told(*settings: str) -> str:
        return run("dense", "-o", folder / "moe", *(f"--set={text}" for text in settings)).output

    assert "-> --set granularity=3\n" in told("granularity=3", "seed=1")
    assert "-> --set granularty=4\n" in told("seed=1", "granularty=4")
    assert told("experts", "=4").count("is not NAME=VALUE, as in experts=4") == 2


def test_no_model(folder: Path) -> None:
    result = run(folder / "none", "-o", folder / "moe")
    assert result.exit_code == 2
    assert "there is no such folder" in result.output
