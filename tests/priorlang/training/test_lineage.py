"""Which model a stage begins from: branches that part and join."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.diagnostics.finding import PriorError
from priorlang.training import TrainingPlan, load_plan, render_plan
from priorlang.training.lineage import origin_of

BRANCHED = """\
model: {config: config.json}
output_dir: run
data: {path: data.json}
stages:
  - {name: seed}
  - {name: caption, start_from: seed}
  - {name: vqa, start_from: seed}
  - name: mix
    moe: true
    upcycle: {method: btx, experts: 2, top_k: 1, branches: [caption, vqa]}
  - {name: dense, start_from: seed}
  - {name: fresh, start_from: initial}
"""


def load(folder: Path, text: str) -> TrainingPlan:
    for name in ("config.json", "data.json"):
        (folder / name).write_text("{}")
    (folder / "train.yaml").write_text(text)
    return load_plan(folder / "train.yaml")


def test_branches_part_and_join(tmp_path: Path) -> None:
    plan = load(tmp_path, BRANCHED)
    origins = [origin_of(plan, index) for index in range(len(plan.stages))]
    assert [origin and origin.name for origin in origins] == [None, "seed", "seed", "vqa", "seed", None]
    (tmp_path / "again.yaml").write_text(render_plan(plan))
    assert load_plan(tmp_path / "again.yaml") == plan


def test_folders_are_branches_too(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    plan = load(tmp_path, BRANCHED.replace("[caption, vqa]", "[caption, ./elsewhere]"))
    assert plan.stage("mix").upcycle.branches == ("caption", str(tmp_path / "elsewhere"))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("caption, start_from: seed", "caption, start_from: sed", 6, "no earlier stage; did you mean `seed`?"),
        ("caption, start_from: seed", "caption, start_from: vqa", 6, "which is no earlier stage"),
        ("caption, start_from: seed", "caption, start_from: caption", 6, "which is no earlier stage"),
        ("branches: [caption, vqa]", "branches: [caption, vqaa]", 10, "did you mean `vqa`?; a folder is written with"),
        ("branches: [caption, vqa]", "branches: [caption, ./none]", 10, "there is no folder"),
        ("branches: [caption, vqa]", "branches: caption", 10, "several dense models, here are 1"),
        ("experts: 2", "experts: 4", 10, "2 branches cut into 1 give 2; ask for experts=2"),
        ("method: btx", "method: drop", 10, "'drop' has one dense model"),
        ("{name: dense, start_from: seed}", "{name: dense}", 11, "add `moe: true`"),
        ("{name: dense, start_from: seed}", "{name: dense, moe: true, upcycle: {experts: 3}}", 11, "`mix` makes the experts"),
        ("name: fresh", "name: initial", 12, "can be called `initial`"),
        ("{name: caption, start_from: seed}", "{name: caption, moe: true, upcycle: {}}", 7, "`vqa` is dense"),
    ],
)  # fmt: skip
def test_what_cannot_be(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in BRANCHED
    text = BRANCHED.replace(old, new)
    if "`vqa` is dense" in words:
        text = text.replace("{name: vqa, start_from: seed}", "{name: vqa}")
    with pytest.raises(PriorError) as caught:
        load(tmp_path, text)
    assert words in caught.value.findings[0].message
    assert caught.value.findings[0].span.start.line == line


def test_a_branch_with_experts_is_none(tmp_path: Path) -> None:
    text = BRANCHED.replace(
        "{name: vqa, start_from: seed}", "{name: vqa, start_from: seed, moe: true, upcycle: {}}"
    )
    with pytest.raises(PriorError, match="branch `vqa` has experts already"):
        load(tmp_path, text.replace("name: mix", "name: mix\n    start_from: seed"))
