"""A grid's jobs as processes: crashes, kills, resuming, sharing. The processes are stand-ins that train nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dpsl.errors import DpslError
from dpsl.grid import schedule
from dpsl.grid.run import GridRun, opened, planned
from dpsl.grid.take_over import TAKEN
from priorlang.grid.load import read_grid

STUB = Path(__file__).with_name("stub_job.py")
PRIOR = """\
priorlang 1
model { layers = 4  experts = 4  top_k = 2 }
param base = 0.75
default base $base weight 0.1
"""
TRAIN = """\
model: {config: config.json}
prior: digits.prior
output_dir: run
upcycle: {experts: 4, top_k: 2}
data: {path: data.json}
stages:
  - {name: dense, max_steps: 3}
  - {name: shaped, shape: true, max_steps: 4}
"""
GRID = """\
base: train.yaml
output_dir: out
vary:
  dpsl:
  flat: {parameters: {base: 1.5}}
seeds: [0, 1]
seed_places: [stages.shaped.seed]
"""


@pytest.fixture(autouse=True)
def _stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "JOB", (str(STUB),))
    monkeypatch.setattr(schedule, "POLL_S", 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 4}))
    (tmp_path / "data.json").write_text("[]")
    (tmp_path / "digits.prior").write_text(PRIOR)
    (tmp_path / "train.yaml").write_text(TRAIN)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path


def run(folder: Path, *only: str, seeds: int | None = None, slots: int = 1) -> tuple[GridRun, list[str]]:
    """Run the grid to its table."""
    said: list[str] = []
    with opened(folder / "out", folder / "grid.yaml"):
        grid = GridRun(read_grid(folder / "grid.yaml"), only, seeds, slots, 1, said.append)
        grid.search()
        grid.report()
    return grid, said


def fail(folder: Path, **how: str) -> None:
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "grid.yaml").write_text("")
    (folder / "out" / "fail.json").write_text(json.dumps(how))


def states(grid: GridRun) -> dict[str, list[str]]:
    return {row.variant: [status.state for status in row.cells.values()] for row in grid.document.rows}


def weights(folder: Path, cell: str, stage: str) -> str:
    return (folder / "out" / cell / "stages" / stage / "model" / "weights").read_text()


def test_a_shared_stage_is_trained_once_and_taken_over(folder: Path) -> None:
    grid, said = run(folder)
    assert not grid.failed
    assert [line.split("]")[0] for line in said] == [f"[{number}/5" for number in range(1, 6)]
    cells = [f"cells/{variant}/seed-{seed}" for variant in ("dpsl", "flat") for seed in (0, 1)]
    assert len({weights(folder, cell, "dense") for cell in cells}) == 1
    assert len({weights(folder, cell, "shaped") for cell in cells}) == 4
    environment = json.loads((folder / "out" / cells[3] / "environment.json").read_text())
    assert list(environment[TAKEN]) == ["dense"]
    assert environment[TAKEN]["dense"].startswith("shared/dense-")
    rows = (folder / "out" / cells[3] / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["stage"] for row in rows] == ["dense", "shaped"]
    assert "| dpsl" in (folder / "out" / "table.md").read_text()
    assert len(json.loads((folder / "out" / "results.json").read_text())["variants"]) == 2


def test_a_metric_that_no_cell_has_is_told_with_the_nearest(folder: Path) -> None:
    with (folder / "grid.yaml").open("a") as file:
        file.write("metrics: [eval_acuracy, eval_accuracy, dense/zzz]\n")
    _, said = run(folder)
    wrong, odd = said[-2:]
    assert wrong == (
        "metric eval_acuracy: no cell has it at the end of stage shaped; did you mean `eval_accuracy`?"
    )
    assert odd.startswith("metric dense/zzz: no cell has it at the end of stage dense; ")


def test_the_same_again_trains_nothing(folder: Path) -> None:
    run(folder)
    before = weights(folder, "cells/flat/seed-1", "shaped")
    grid, said = run(folder)
    assert said == []
    assert states(grid) == {"dpsl": ["done", "done"], "flat": ["done", "done"]}
    assert weights(folder, "cells/flat/seed-1", "shaped") == before


def test_a_crash_stops_no_other_cell_and_is_tried_again(folder: Path) -> None:
    fail(folder, **{"flat/seed-0": "error", "flat/seed-1": "traceback", "dpsl/seed-1": "kill"})
    grid, said = run(folder)
    assert grid.failed
    assert states(grid) == {"dpsl": ["done", "failed"], "flat": ["failed", "failed"]}
    errors = {(variant, seed): error for variant, seed, error in grid.document.failed}
    for cell, words in (
        (
            ("flat", 0),
            "layer 3: router logits hold NaN; lower the learning rate (see jobs/cells.flat.seed-0.log)",
        ),
        (("flat", 1), "ZeroDivisionError: by zero"),
        (("dpsl", 1), "killed by SIGKILL"),
    ):
        assert words in errors[cell]
        assert any(words in line for line in said)
        assert words in (folder / "out" / "table.md").read_text()
    (folder / "out" / "fail.json").unlink()
    again, said = run(folder)
    assert not again.failed
    assert states(again) == {"dpsl": ["done", "done"], "flat": ["done", "done"]}
    assert len(said) == 3


def test_without_its_shared_stage_a_cell_does_not_begin(folder: Path) -> None:
    fail(folder, **{"shared/": "error"})
    grid, said = run(folder)
    assert states(grid) == {"dpsl": ["failed", "failed"], "flat": ["failed", "failed"]}
    assert len(said) == 5
    assert "not begun, since shared by 4: dense failed" in said[-1]


def test_variants_and_seeds_can_be_picked_and_added(folder: Path) -> None:
    grid, _ = run(folder, "flat", seeds=1)
    assert states(grid) == {"dpsl": ["waiting", "waiting"], "flat": ["done", "waiting"]}
    grid, said = run(folder, slots=2)
    assert states(grid) == {"dpsl": ["done", "done"], "flat": ["done", "done"]}
    assert (
        len({weights(folder, f"cells/{v}/seed-{s}", "dense") for v in ("dpsl", "flat") for s in (0, 1)}) == 1
    )
    assert not any("shared" in line for line in said), "the stage that the first cell trained is taken over"


def test_a_cell_that_began_with_something_else_is_refused(folder: Path) -> None:
    run(folder)
    (folder / "train.yaml").write_text(TRAIN.replace("max_steps: 4", "max_steps: 5"))
    with pytest.raises(DpslError, match=r"stages\.shaped\.max_steps; undo the change"):
        run(folder)
    (folder / "train.yaml").write_text(TRAIN)
    (folder / "digits.prior").write_text(PRIOR.replace("weight 0.1", "weight 0.2"))
    with pytest.raises(DpslError, match="its data, its priors or an installed version"):
        run(folder)


def test_two_grids_on_one_folder_are_refused(folder: Path) -> None:
    with opened(folder / "out", folder / "grid.yaml"), pytest.raises(DpslError, match="another process"):
        run(folder)


def test_a_folder_that_holds_something_else_is_left_alone(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.tex").write_text("")
    with pytest.raises(DpslError, match="holds something else"):
        run(folder)


def test_a_grid_that_is_killed_leaves_no_process_and_goes_on(folder: Path) -> None:
    fail(folder, **{"flat/seed-1": "wait"})
    code = (
        "import sys; from dpsl.grid import schedule; from priorlang.cli import main;"
        f"schedule.JOB = ({str(STUB)!r},); schedule.POLL_S = 0.02; sys.argv = ['priorlang', 'grid', 'grid.yaml']; main()"
    )
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stderr=subprocess.PIPE)
    log = folder / "out" / "jobs" / "cells.flat.seed-1.json"
    deadline = time.monotonic() + 60
    while not log.is_file() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
    assert len(children) == 1
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    deadline = time.monotonic() + 10
    while _alive(int(children[0])) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(int(children[0]))
    (folder / "out" / "fail.json").unlink()
    grid, said = run(folder)
    assert states(grid) == {"dpsl": ["done", "done"], "flat": ["done", "done"]}
    assert len(said) == 1


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has buried yet does not."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_search_chooses_and_then_the_cells_are_trained(folder: Path) -> None:
    search = "search: {metric: eval_accuracy, seeds: [9], settings: 2}\n"
    text = GRID.replace("dpsl:", "dpsl: {search: {stages.shaped.learning_rate: [0.1, 0.01]}}")
    text = text.replace("flat: {", "flat: {search: none, ")
    (folder / "grid.yaml").write_text(text + search)
    grid, said = run(folder)
    assert not grid.failed
    assert "dpsl: stages.shaped.learning_rate = 0.1" in said
    plan = json.loads((folder / "out/cells/dpsl/seed-0/plan.json").read_text())
    assert plan["stages"][1]["learning_rate"] == 0.1
    assert "| dpsl    | stages.shaped.learning_rate |" in grid.table


def test_two_grids_may_share_stages(folder: Path) -> None:
    (folder / "grid.yaml").write_text(GRID + "shared_dir: common\n")
    run(folder)
    (folder / "grid.yaml").write_text(
        (GRID + "shared_dir: common\n")
        .replace("output_dir: out", "output_dir: other")
        .replace("flat:", "wide:")
    )
    with opened(folder / "other", folder / "grid.yaml"):
        said: list[str] = []
        grid = GridRun(read_grid(folder / "grid.yaml"), ["wide"], 1, 1, 1, said.append)
        grid.report()
    assert not grid.failed
    assert len(said) == 1
    assert (
        weights(folder, "cells/flat/seed-0", "dense")
        == (folder / "other/cells/wide/seed-0/stages/dense/model/weights").read_text()
    )


@pytest.mark.parametrize(
    ("slots", "processes", "visible", "given"),
    [
        (1, 1, "0,1", ["0,1"]),
        (2, 1, "", ["", ""]),
        (2, 1, "3", ["3", "3"]),
        (3, 1, "4,5,6,7", ["4", "5", "6"]),
        (3, 1, "4,5", ["4", "5", "4"]),
        (2, 2, "0,1,2,3", ["0,1", "2,3"]),
        (2, 4, "0,1", ["0,1", "0,1"]),
    ],
)
def test_each_slot_has_devices_of_its_own(slots: int, processes: int, visible: str, given: list[str]) -> None:
    assert [schedule.devices_of(slot, slots, processes, visible) for slot in range(slots)] == given


def dry(folder: Path) -> str:
    return planned(read_grid(folder / "grid.yaml"), folder / "dry", (), None, 1)


def test_a_dry_run_counts_what_is_left(folder: Path) -> None:
    assert "0 done; 5 stages to train" in dry(folder)
    fail(folder, **{"flat/seed-1": "error"})
    run(folder)
    assert "3 done; 1 stage to train" in dry(folder)
    (folder / "out" / "fail.json").unlink()
    run(folder)
    assert "4 done; 0 stages to train" in dry(folder)


def test_a_dry_run_refuses_what_the_run_refuses(folder: Path) -> None:
    run(folder)
    file = folder / "train.yaml"
    file.write_text(file.read_text().replace("max_steps: 4", "max_steps: 5"))
    with pytest.raises(DpslError) as refused:
        run(folder)
    with pytest.raises(DpslError) as foreseen:
        dry(folder)
    assert str(foreseen.value) == str(refused.value)
