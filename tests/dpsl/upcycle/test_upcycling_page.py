"""docs/upcycling.md, run as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from click.testing import CliRunner

import dpsl
from dpsl.upcycle.plan import UpcyclePlan as Options
from priorlang.cli.commands import cli
from priorlang.training import load_plan
from priorlang.training.upcycle import UpcyclePlan
from priorlang.training.upcycle_checks import problems

PAGE = (Path(__file__).parents[3] / "docs" / "upcycling.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the page names: three dense models, and data."""
    config = transformers.LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4,
    )  # fmt: skip
    for seed, name in enumerate(("dense", "captions", "questions")):
        torch.manual_seed(seed)
        transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / name)
    for name in ("all", "captions", "questions"):
        (tmp_path / f"{name}.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def without_fractions(text: str) -> str:
    """The text, but for measured numbers, whose last digits are the machine's."""
    return re.sub(r"\d+\.\d+(e[-+]\d+)?|\d+e[-+]\d+", "#", text)


@pytest.mark.usefixtures("folder")
def test_commands_print_what_the_page_shows() -> None:
    (shown,) = [text for kind, text in BLOCKS if kind == "console"]
    command, _, printed = shown.partition("\n")
    result = CliRunner().invoke(cli, shlex.split(command)[2:])
    assert result.exit_code == 0, result.output
    assert without_fractions(result.stdout) == without_fractions(printed)


@pytest.mark.usefixtures("folder")
def test_programs_run(capsys: pytest.CaptureFixture[str]) -> None:
    programs = [text for kind, text in BLOCKS if kind == "python"]
    assert len(programs) == 4
    names: dict[str, object] = {}
    for program in programs:
        exec(compile(program, "docs/upcycling.md", "exec"), names)
    assert isinstance(names["again"], dpsl.upcycle.classes.UPCYCLED["UpcycledLlamaForCausalLM"])
    assert "values are drawn anew" in capsys.readouterr().out


def test_settings_are_settings(folder: Path) -> None:
    files = [text for kind, text in BLOCKS if kind == "yml"]
    assert len(files) == 4
    for text in files:
        if "stages:" in text:
            (folder / "train.yaml").write_text(text)
            assert load_plan(folder / "train.yaml").stage("mixture").upcycle.branches == (
                "captions",
                "questions",
            )
        else:
            plan = UpcyclePlan.model_validate(yaml.safe_load(text)["upcycle"])
            assert not list(problems(plan))
            model = dpsl.load_model(folder / "dense")
            receipt = dpsl.upcycle(model, **plan.model_dump())
            assert receipt.holds in (True, None)


def test_the_table_of_options_is_complete() -> None:
    table = PAGE.partition("## All options")[2].partition("##")[0]
    rows = {
        row.split("|")[1]: row.split("|")[2].strip() for row in table.splitlines() if row.startswith("| `")
    }
    named = [name for cell in rows for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(UpcyclePlan.model_fields) == sorted(Options.__dataclass_fields__)
    for name in ("experts", "top_k", "granularity", "seed"):
        assert rows[f" `{name}` "] == str(UpcyclePlan.model_fields[name].default)


def test_options_of_python_and_files_have_one_default() -> None:
    plan = UpcyclePlan()
    assert {name: getattr(plan, name) for name in UpcyclePlan.model_fields} == vars(Options())
