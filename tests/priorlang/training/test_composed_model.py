"""`model: {language_model: …, vision_tower: …}`: its paths, what is written out again, its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.diagnostics.finding import PriorError
from priorlang.training import load_plan, render_plan
from priorlang.training.model import model_of

FILE = """\
model:
  language_model: Qwen/Qwen2-1.5B
  vision_tower: towers/clip
  configs: {language_model: configs/text, vision_tower: configs/clip}
output_dir: run
stages:
  - name: all
    moe: true
    upcycle: {experts: 8, top_k: 4}
    data: {path: gone.json, fraction: 0.5, expected: {records: 10}, task: vqa}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("text", "clip"):
        (tmp_path / "configs" / name).mkdir(parents=True)
        (tmp_path / "configs" / name / "config.json").write_text('{"num_hidden_layers": 5}')
    return tmp_path


def write(folder: Path, text: str = FILE) -> Path:
    file = folder / "train.yaml"
    file.write_text(text)
    return file


def test_hub_names_stay_and_folders_become_absolute(folder: Path) -> None:
    (folder / "towers" / "clip").mkdir(parents=True)
    plan = load_plan(write(folder), allow_absent=True)
    assert plan.composed is not None
    assert plan.composed.language_model == plan.processor_source == "Qwen/Qwen2-1.5B"
    assert plan.composed.vision_tower == str(folder / "towers" / "clip")
    assert plan.composed.configs is not None
    assert plan.composed.configs.vision_tower == folder / "configs" / "clip"
    assert plan.stages[0].data[0].attributes == {"task": "vqa"}


def test_what_is_written_out_reads_as_the_same(folder: Path) -> None:
    plan = load_plan(write(folder), allow_absent=True)
    again = load_plan(write(folder, render_plan(plan)), allow_absent=True)
    assert again == plan


def test_layers_come_from_the_config_and_experts_from_upcycle(folder: Path) -> None:
    plan = load_plan(write(folder), allow_absent=True)
    given = model_of(plan, plan.stages[0])
    assert given is not None
    assert (given.layers, given.experts, given.top_k) == (5, 8, 4)


def test_a_real_run_needs_the_data(folder: Path) -> None:
    with pytest.raises(PriorError, match=r"gone\.json"):
        load_plan(write(folder))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  vision_tower: towers/clip\n", "", "`model` needs the key `vision_tower`"),
        ("vision_tower: towers", "vision_towr: towers", "did you mean `vision_tower`"),
        ("  configs:", "  chat: vicuna\n  configs:", "`chat` should be 'llava' or 'own'"),
        ("configs/clip}", "configs/clop}", "configs/clop/config.json"),
        (
            "{language_model: configs/text, ",
            "{languag_model: configs/text, ",
            "did you mean `language_model`",
        ),
        ("fraction: 0.5", "fraction: 1.5", "`fraction`"),
        ("records: 10", "record: 10", "did you mean `records`"),
        ("records: 10", "records: 0", "`records`"),
        ("output_dir", "processor: a/b\noutput_dir", "leave `processor` out"),
        ("output_dir", "model_name_or_path: a/b\noutput_dir", "exclude each other"),
    ],
)
def test_mistakes(folder: Path, old: str, new: str, words: str) -> None:
    assert FILE.count(old) == 1
    with pytest.raises(PriorError) as caught:
        load_plan(write(folder, FILE.replace(old, new, 1)), allow_absent=True)
    assert words in "\n".join(finding.message for finding in caught.value.findings)
