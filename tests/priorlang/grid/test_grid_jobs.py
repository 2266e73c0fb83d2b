"""Which stages are the same, and which are trained once for several cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from grid_files import GRID, write_grid

from priorlang.grid.cells import reported_cells
from priorlang.grid.jobs import Job, jobs_of, same_cells
from priorlang.grid.keys import stage_keys
from priorlang.grid.load import read_grid
from priorlang.training import load_plan
from priorlang.training.priors import compiled_priors


def jobs(folder: Path, grid: str = GRID) -> list[Job]:
    loaded = read_grid(write_grid(folder, grid))
    return jobs_of(reported_cells(loaded, {}, folder / "priors"), folder / "shared")


def trained(found: list[Job]) -> list[tuple[str, ...]]:
    return [job.own_stages for job in found if job.cell is None]


def test_stages_before_the_first_difference_are_trained_once_for_each_seed(tmp_path: Path) -> None:
    found = jobs(tmp_path)
    assert trained(found) == [("projector", "dense"), ("projector", "dense")]
    assert [job.own_stages for job in found if job.cell] == [("shaped", "finetune")] * 6
    assert all(job.after in found[: found.index(job)] for job in found if job.after)


def test_what_seeds_share_is_trained_once_for_all(tmp_path: Path) -> None:
    found = jobs(tmp_path, GRID + "seed_places: [stages.dense.seed]\n")
    assert trained(found) == [("projector",), ("dense",), ("dense",)]
    assert found[1].after is found[0]


def test_cells_that_are_the_same_are_told(tmp_path: Path) -> None:
    found = jobs(
        tmp_path, GRID.replace("flat: {parameters: {base: 1.5}}", "again: {parameters: {base: 0.75}}")
    )
    assert same_cells(found) == [("dpsl, seed 0", "again, seed 0"), ("dpsl, seed 1", "again, seed 1")]


def keys(folder: Path, set: Mapping[str, Any]) -> tuple[str, ...]:
    plan = load_plan(folder / "train.yaml", set)
    return stage_keys(plan, compiled_priors(plan))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, 4),
        ({"output_dir": "elsewhere"}, 4),
        ({"stages.finetune.max_steps": 9}, 3),
        ({"stages.shaped.seed": 9}, 2),
        ({"stages.shaped.shape": False, "stages.shaped.moe": True}, 2),
        ({"upcycle.noise": 0.5}, 2),
        ({"regularizers": [{"type": "z_loss", "coefficient": 0.1}]}, 2),
        ({"router_learning_rate": 0.1}, 2),
        ({"target": "mid"}, 2),
        ({"stages.dense.learning_rate": 0.1}, 1),
        ({"learning_rate": 0.1}, 0),
        ({"model.seed": 9}, 0),
    ],
)
def test_a_key_holds_what_decides_the_stage_and_no_more(
    tmp_path: Path, change: dict[str, Any], same: int
) -> None:
    write_grid(tmp_path)
    before, after = keys(tmp_path, {}), keys(tmp_path, change)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] * same + [False] * (4 - same)


@pytest.mark.parametrize(
    ("name", "before", "after", "same"),
    [
        ("data.json", "[]", "[{}]", 0),
        ("model/config.json", '"vocab_size": 16', '"vocab_size": 32', 0),
        ("digits.prior", "base = 0.75", "base = 0.5", 2),
        ("digits.prior", "priorlang 1", "# A remark means nothing.\npriorlang 1", 4),
    ],
)
def test_a_key_holds_what_files_hold(tmp_path: Path, name: str, before: str, after: str, same: int) -> None:
    given, changed = tmp_path / "given", tmp_path / "changed"
    write_grid(given)
    write_grid(changed)
    text = (changed / name).read_text()
    assert before in text
    (changed / name).write_text(text.replace(before, after))
    equal = [a == b for a, b in zip(keys(given, {}), keys(changed, {}), strict=True)]
    assert equal == [True] * same + [False] * (4 - same)


def test_the_stages_before_a_schedule_depend_on_how_long_it_is(tmp_path: Path) -> None:
    """A prior's schedule runs over all shaped steps: of two shaped stages, the first knows the second."""
    write_grid(tmp_path)
    both = {"stages.finetune.shape": True}
    short, long = keys(tmp_path, both), keys(tmp_path, {**both, "stages.finetune.max_steps": 9})
    assert [a == b for a, b in zip(short, long, strict=True)] == [True, True, False, False]
