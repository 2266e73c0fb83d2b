"""Finished cells to results.json and the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finished_runs import finish
from grid_files import GRID, write_grid

from priorlang.grid.cells import Cell, reported_cells, search_cells
from priorlang.grid.document import Document, Status, document_of
from priorlang.grid.load import LoadedGrid, read_grid
from priorlang.grid.plan import Metric
from priorlang.grid.results import cell_values
from priorlang.grid.search import choices
from priorlang.grid.table import render

METRICS = "metrics: [{metric: eval_accuracy, label: accuracy}, shaped/load_cov]\n"
GOLDEN = """\
Mean ± standard deviation over seeds. A number in brackets is the number of seeds, where it is not that of the row.

| variant | n |        accuracy | shaped/load_cov |
|---------|--:|----------------:|----------------:|
| sparse  | 3 | 0.9333 ± 0.0058 |     0.50 ± 0.10 |
| dpsl    | 3 | 0.9467 ± 0.0058 |               – |
| flat    | 2 | 0.9000 ± 0.0141 |        0.30 (1) |

accuracy, minus sparse on the same seed (higher wins):

| variant | n | difference ± SE |     95% interval |   wins |
|---------|--:|----------------:|-----------------:|-------:|
| dpsl    | 3 |  +0.013 ± 0.007 | -0.015 to +0.042 | 2 of 3 |
| flat    | 2 |  -0.035 ± 0.015 | -0.226 to +0.156 | 0 of 2 |

shaped/load_cov, minus sparse on the same seed (lower wins):

| variant | n | difference ± SE | 95% interval |   wins |
|---------|--:|----------------:|-------------:|-------:|
| flat    | 1 |           -0.10 |            – | 1 of 1 |
"""


def grid(folder: Path) -> tuple[LoadedGrid, list[Cell]]:
    loaded = read_grid(write_grid(folder, GRID.replace("[0, 1]", "[0, 1, 2]") + METRICS))
    return loaded, reported_cells(loaded, {}, folder / "priors")


def document(folder: Path) -> Document:
    loaded, cells = grid(folder)
    values: dict[str, list[tuple[float, float | None]]] = {
        "sparse": [(0.93, 0.4), (0.94, 0.5), (0.93, 0.6)],
        "dpsl": [(0.95, None), (0.94, None), (0.95, None)],
        "flat": [(0.91, 0.3), (0.89, None)],
    }
    status = {}
    for cell in cells:
        if cell.seed < len(values[cell.variant]):
            accuracy, cov = values[cell.variant][cell.seed]
            shaped = {} if cov is None else {"load_cov": cov}
            finish(cell.folder, {"shaped": shaped, "finetune": {"eval_accuracy": accuracy}})
            status[cell.folder] = Status("done")
        else:
            status[cell.folder] = Status("failed", "router logits hold NaN (see jobs/x.log)")
    return document_of(loaded.plan, cells, status, ["projector"], {})


def test_the_table_says_what_came_out_and_what_it_does_not_show(tmp_path: Path) -> None:
    table = render(document(tmp_path))
    assert table.startswith(GOLDEN)
    rest = table.removeprefix(GOLDEN)
    assert "- flat, seed 2: router logits hold NaN (see jobs/x.log)" in rest
    assert "2 intervals at 95% each" in rest
    assert "n = 1: one seed has no spread" in rest
    assert "Every seed starts from the same projector" in rest
    assert "- accuracy: all cells are measured on the same held-out data, so its own" in rest
    assert "- shaped/load_cov: measured on data that was trained on, not on held-out data." in rest
    assert "**" not in table


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("", "routing.ks, loss: measured on data that was trained on, not on held-out data."),
        (
            "set: {eval_data: {path: data.json}}\n",
            "eval_accuracy, routing.ks: all cells are measured on the same held-out data",
        ),
        (
            "set: {stages.finetune.eval_data: {path: data.json}}\n",
            "eval_accuracy, routing.ks: all cells are measured on the same held-out data",
        ),
        (
            "set: {stages.shaped.eval_data: {path: data.json}}\n",
            "routing.ks, loss: measured on data that was trained on, not on held-out data.",
        ),
    ],
)
def test_it_says_which_numbers_are_of_held_out_data(tmp_path: Path, change: str, told: str) -> None:
    text = GRID + "metrics: [eval_accuracy, routing.ks, loss]\n" + change
    loaded = read_grid(write_grid(tmp_path, text))
    cells = reported_cells(loaded, {}, tmp_path / "priors")
    assert f"- {told}" in render(document_of(loaded.plan, cells, {}, [], {}))


def test_metrics_on_other_data_in_one_variant_are_not_compared_without_a_word(tmp_path: Path) -> None:
    text = GRID.replace("dpsl:", "dpsl: {set: {eval_data: {path: data.json}}}") + "metrics: [routing.ks]\n"
    loaded = read_grid(write_grid(tmp_path, text))
    cells = reported_cells(loaded, {}, tmp_path / "priors")
    table = render(document_of(loaded.plan, cells, {}, [], {}))
    assert "- routing.ks: not all cells are measured on the same data" in table
    assert "held-out" not in table


def test_a_metric_may_be_left_unpaired(tmp_path: Path) -> None:
    made = document(tmp_path)
    first, second = made.plan.metrics
    plan = made.plan.model_copy(update={"metrics": (first, second.model_copy(update={"paired": False}))})
    table = render(Document(plan, made.rows, made.once, made.measured))
    assert "shaped/load_cov |" in table
    assert "shaped/load_cov, minus" not in table
    assert "n = 1" not in table


def test_few_seeds_are_said_to_be_few(tmp_path: Path) -> None:
    loaded, cells = grid(tmp_path)
    for cell in cells:
        finish(cell.folder, {"finetune": {"eval_accuracy": 0.9 + 0.01 * cell.seed}})
    done = {cell.folder: Status("done") for cell in cells}
    table = render(document_of(loaded.plan, cells, done, [], {}))
    assert (
        "n = 3: an interval of 3 seeds says little. It is Student's t with 2 degrees of freedom, 4.3" in table
    )


def test_results_are_json_with_every_value(tmp_path: Path) -> None:
    found = json.loads(json.dumps(document(tmp_path).to_json(), allow_nan=False))
    dpsl = next(row for row in found["variants"] if row["name"] == "dpsl")
    assert [cell["values"]["eval_accuracy"] for cell in dpsl["cells"]] == [0.95, 0.94, 0.95]
    assert dpsl["cells"][1]["folder"] == "cells/dpsl/seed-1"
    assert dpsl["difference"]["eval_accuracy"]["wins"] == 2
    assert dpsl["difference"]["shaped/load_cov"] is None
    flat = next(row for row in found["variants"] if row["name"] == "flat")
    assert flat["cells"][2]["state"] == "failed"


def test_a_grid_that_has_not_begun_has_a_table(tmp_path: Path) -> None:
    loaded, cells = grid(tmp_path)
    table = render(document_of(loaded.plan, cells, {}, [], {}))
    assert "9 cells have not run yet." in table


def test_the_last_value_of_a_stage_counts_and_broken_lines_do_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    finish(run, {"shaped": {"eval_loss": 2.0}, "finetune": {"eval_loss": 1.0}})
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "finetune", "eval_loss": 0.5}\n{"stage": "finetune", "eval_l')
    metrics = [
        Metric.model_validate(text) for text in ("eval_loss", "shaped/eval_loss", "routing.ks", "nothing")
    ]
    found = cell_values(run, metrics, ["shaped", "finetune"])
    assert list(found.values()) == [0.5, 2.0, None, None]


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("eval_accuracy", "higher"), ("eval_digit_accuracy", "higher"), ("eval_loss", "lower"),
        ("routing.load_cov.3", "lower"), ("routing.ks", "lower"), ("routing.spread", None), ("top1_score", None),
    ],
)  # fmt: skip
def test_which_way_is_better_is_known_where_it_is_plain(metric: str, better: str | None) -> None:
    assert Metric(metric=metric).wins == better


def test_the_best_mean_is_chosen_and_a_setting_that_failed_is_not(tmp_path: Path) -> None:
    text = GRID.replace("dpsl:", "dpsl: {search: {prior.base: [1, 2, 3]}}").replace(
        "flat: {", "flat: {search: none, "
    )
    text = text.replace("sparse: {", "sparse: {search: {upcycle.noise: [0.1, 0.2, 0.3]}, ")
    loaded = read_grid(
        write_grid(tmp_path, text + "search: {metric: eval_loss, seeds: [8, 9], settings: 3}\n")
    )
    cells = search_cells(loaded, tmp_path / "priors")
    losses = {("dpsl", 0): 3.0, ("dpsl", 1): 1.0, ("dpsl", 2): 2.0}
    done = {}
    for cell in cells:
        if cell.setting is not None and (cell.variant, cell.setting) in losses:
            finish(cell.folder, {"finetune": {"eval_loss": losses[cell.variant, cell.setting]}})
            done[cell.folder] = (cell.setting, cell.seed) != (1, 9)
    found = choices(loaded.plan, cells, done)
    assert (found["dpsl"].value, [item.mean for item in found["dpsl"].tried]) == (3, [3.0, None, 2.0])
    assert found["sparse"].best is None
    assert "flat" not in found
