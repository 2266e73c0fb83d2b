"""Run folders: which stage was measured, whether a prior had been on, and everything that can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ideal_routing import AFTER, BEFORE, ideal_run, write_run
from prior_programs import prior_of

from priorlang.diagnostics.finding import PriorError
from priorlang.routing.run import read_run_routing

TEXT = """priorlang 1
model { layers = 2  experts = 4  top_k = 2 }
attribute modality { vision, language }
default base 1 weight 0.01
rule vision: for modality vision prefer 0..1 by 1
"""
TABLE = prior_of(TEXT).table
FINETUNE = {"name": "finetune", "moe": True, "shape": False, "regularizers": [{"type": "load_balance"}]}


@pytest.mark.parametrize(
    ("stages", "shaped", "on", "balanced"),
    [
        (BEFORE, False, False, False),
        ((*BEFORE, *AFTER), True, True, False),
        ((*AFTER, FINETUNE), True, False, True),
        ((FINETUNE,), False, False, True),
    ],
)
def test_the_plan_says_whether_the_prior_was_on(
    tmp_path: Path, stages: tuple[dict[str, object], ...], shaped: bool, on: bool, balanced: bool
) -> None:
    folder = write_run(tmp_path / "run", ideal_run(TABLE), stages)
    name = stages[-1]["name"]
    for place in (folder, folder / "stages" / str(name)):
        run = read_run_routing(place)
        assert (run.stage, run.shaped, run.on, run.balanced) == (name, shaped, on, balanced)
        assert run.table.class_count == 2


def test_a_stage_before_the_prior_is_before_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ideal_run(TABLE), (*BEFORE, *AFTER), at="before")
    assert not read_run_routing(folder / "stages" / "before").shaped


def test_without_a_plan_the_prior_is_taken_to_be_on(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ideal_run(TABLE))
    (folder / "plan.json").write_text("{")
    run = read_run_routing(folder)
    assert (run.stage, run.shaped) == ("", True)


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ideal_run(TABLE))
    for place, words in (
        (tmp_path / "none", "is no folder"),
        (folder / "plan.json", "is a file"),
        (tmp_path, "this is no folder of a run"),
    ):
        with pytest.raises(PriorError, match=words):
            read_run_routing(place)
    (folder / "routing.safetensors").write_bytes((folder / "routing.safetensors").read_bytes()[:-9])
    with pytest.raises(PriorError, match="cannot be read"):
        read_run_routing(folder)
    (folder / "routing.safetensors").unlink()
    with pytest.raises(PriorError, match="written at the end of a stage"):
        read_run_routing(folder)


def test_a_run_needs_its_own_prior(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", ideal_run(TABLE))
    prior_of(TEXT.replace("layers = 2", "layers = 3")).table.save(folder / "prior.safetensors")
    with pytest.raises(PriorError, match="belongs to another prior"):
        read_run_routing(folder)
    (folder / "prior.safetensors").unlink()
    with pytest.raises(PriorError, match=r"has no prior\.safetensors"):
        read_run_routing(folder)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"group_layer": np.array([0, 0, 1, 7], np.int32)},
        {"group_population": np.array([3, 2, 1, 0], np.int32)},
        {"group_name": ("layer 0 · vision", "layer 0 · x", "layer 1 · vision", "layer 1 · language")},
    ],
)
def test_groups_that_its_prior_does_not_have_are_refused(tmp_path: Path, spoilt: dict[str, Any]) -> None:
    run = ideal_run(TABLE)
    folder = write_run(tmp_path / "run", replace(run, statistics=replace(run.statistics, **spoilt)))
    with pytest.raises(PriorError, match="belongs to another prior"):
        read_run_routing(folder)


def test_counts_below_0_are_refused(tmp_path: Path) -> None:
    run = ideal_run(TABLE)
    folder = write_run(
        tmp_path / "run", replace(run, statistics=replace(run.statistics, top=-run.statistics.top))
    )
    with pytest.raises(PriorError, match="damaged"):
        read_run_routing(folder)


def test_each_cell_has_its_group() -> None:
    run = ideal_run(TABLE)
    assert run.cell_groups().tolist() == [[0, 1], [2, 3]]
    assert np.array_equal(run.statistics.group_population, [0, 1, 2, 3])
