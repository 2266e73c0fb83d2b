"""A grid file: what it means, and what a mistake is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from grid_files import GRID, write_grid

from priorlang.diagnostics.finding import Finding, PriorError
from priorlang.grid.cells import reported_cells, search_cells
from priorlang.grid.forecast import first_settings, forecast
from priorlang.grid.load import read_grid

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples/digits/grids").glob("*.yaml"))
SEARCH = "search: {metric: eval_loss, seeds: [9], settings: 2}\n"
SEARCHED = """\
base: train.yaml
output_dir: out
search: {metric: eval_loss, seeds: [9], settings: 2}
vary:
  sparse: {search: {upcycle.noise: [0.01, 0.1]}, set: {stages.shaped.shape: false, stages.shaped.moe: true}}
  dpsl: {search: {prior.base: [0.75, 1]}}
  dense: {search: none, set: {stages.shaped.moe: false, stages.shaped.shape: false, stages.finetune.moe: false}}
"""


def finding(folder: Path, grid: str) -> Finding:
    """The one finding of a grid file and of the training files it makes."""
    with pytest.raises(PriorError) as caught:
        _all_cells(write_grid(folder, grid), folder / "priors")
    (found,) = caught.value.findings
    return found


def _all_cells(file: Path, priors: Path) -> None:
    loaded = read_grid(file)
    search_cells(loaded, priors)
    reported_cells(loaded, first_settings(loaded), priors)


def test_every_variant_and_seed_is_a_cell_seed_by_seed(tmp_path: Path) -> None:
    cells = reported_cells(read_grid(write_grid(tmp_path)), {}, tmp_path / "priors")
    assert [(cell.variant, cell.seed) for cell in cells] == [
        (variant, seed) for seed in (0, 1) for variant in ("sparse", "dpsl", "flat")
    ]
    sparse = cells[3].plan
    assert sparse.output_dir == tmp_path / "out/cells/sparse/seed-1"
    assert not sparse.stage("shaped").shape
    assert sparse.stage("shaped").moe


def test_a_seed_is_written_wherever_there_is_one(tmp_path: Path) -> None:
    plan = reported_cells(read_grid(write_grid(tmp_path)), {}, tmp_path / "priors")[-1].plan
    assert plan.model is not None
    assert plan.model.seed == 1
    assert {stage.seed for stage in plan.stages} == {1}
    assert {stage.upcycle.seed for stage in plan.stages if stage.upcycle} == {1}


def test_a_seed_is_written_where_the_file_says(tmp_path: Path) -> None:
    loaded = read_grid(write_grid(tmp_path, GRID + "seed_places: [stages.finetune.seed]\n"))
    plan = reported_cells(loaded, {}, tmp_path / "priors")[-1].plan
    assert [stage.seed for stage in plan.stages] == [42, 7, 42, 1]


def test_parameters_make_a_prior_that_says_the_same_with_other_numbers(tmp_path: Path) -> None:
    import priorlang

    plan = reported_cells(read_grid(write_grid(tmp_path)), {}, tmp_path / "priors")[2].plan
    prior = plan.stage("shaped").prior
    assert prior is not None
    assert prior.parent == tmp_path / "priors"
    made = priorlang.compile(priorlang.load(prior))
    given = priorlang.compile(priorlang.load(tmp_path / "digits.prior", set={"base": 1.5}))
    assert made.header.normal_form == given.header.normal_form


def test_axes_are_crossed(tmp_path: Path) -> None:
    axes = "[{a: {set: {seed: 3}}, b: }, {low: {parameters: {base: 0.5}}, high: {parameters: {base: 2}}}]"
    loaded = read_grid(
        write_grid(tmp_path, f"base: train.yaml\noutput_dir: out\nvary: {axes}\nreference: b+low\n")
    )
    assert list(loaded.plan.variants) == ["a+low", "a+high", "b+low", "b+high"]
    assert loaded.plan.variants["a+high"].parameters == {"base": 2}


def test_through_leaves_the_stages_behind_it_out(tmp_path: Path) -> None:
    loaded = read_grid(write_grid(tmp_path, GRID + "through: shaped\n"))
    cells = reported_cells(loaded, {}, tmp_path / "priors")
    assert {tuple(stage.name for stage in cell.plan.stages) for cell in cells} == {
        ("projector", "dense", "shaped")
    }


def test_a_search_tries_every_setting_and_reports_what_was_chosen(tmp_path: Path) -> None:
    loaded = read_grid(write_grid(tmp_path, SEARCHED))
    tried = search_cells(loaded, tmp_path / "priors")
    assert [(cell.variant, cell.setting, cell.seed) for cell in tried] == [
        ("sparse", 0, 9), ("sparse", 1, 9), ("dpsl", 0, 9), ("dpsl", 1, 9),
    ]  # fmt: skip
    cells = reported_cells(loaded, {"sparse": 0.1}, tmp_path / "priors")
    assert {cell.variant for cell in cells} == {"sparse", "dense"}
    upcycle = cells[0].plan.stage("shaped").upcycle
    assert upcycle is not None
    assert upcycle.noise == 0.1


@pytest.mark.parametrize(
    ("grid", "name", "words", "line"),
    [
        (GRID.replace("seeds:", "seed:"), "unknown-key", "did you mean `seeds`?", 7),
        (GRID.replace("parameters", "params"), "unknown-key", "`params`", 6),
        (GRID.replace("base: train.yaml\n", ""), "missing-key", "needs the key `base`", 1),
        (GRID.replace("train.yaml", "trian.yaml"), "missing-file", "trian.yaml", 1),
        (GRID.replace("[0, 1]", "[0, 0]"), "invalid-value", "seed 0 stands here twice", 7),
        (GRID.replace("[0, 1]", "[-1]"), "invalid-value", "greater than or equal to 0", 7),
        (GRID.replace("[0, 1]", "[]"), "invalid-value", "at least 1 item", 7),
        (GRID.replace("flat:", "a/b:"), "invalid-value", "name a folder", 6),
        (GRID + "reference: spars\n", "unknown-name", "did you mean `sparse`?", 8),
        (GRID + "metrics: tuned/eval_loss\n", "unknown-name", "no variant has a stage `tuned`", 8),
        (GRID + "through: tuned\n", "unknown-name", "has no stage `tuned`", 8),
        (GRID + "metrics: [eval_loss, eval_loss]\n", "duplicate-name", "`eval_loss`", 8),
        (GRID.replace("shaped.moe: true", "shapped.moe: true"), "unknown-key", "did you mean `shaped`?", 4),
        (GRID.replace("dpsl:", "dpsl: {prior: nowhere.prior}"), "missing-file", "nowhere.prior", 5),
        (GRID.replace("dpsl:", "dpsl: {set: {learning_rate: -1}}"), "invalid-value", "variant `dpsl`", 5),
        (GRID.replace("{base: 1.5}", "{bass: 1.5}"), "unknown-name", "has no parameter `bass`; did you mean `base`?", 6),
        (GRID.replace("{base: 1.5}", "{base: -1}"), "invalid-value", "never negative", 6),
        (GRID.replace("{base: 1.5}", "{base: .inf}"), "invalid-value", "variant `flat`: base", 6),
        (SEARCHED.replace("prior.base", "prior.bass"), "unknown-name", "did you mean `base`?", 6),
        (SEARCHED.replace("[9]", "[1]"), "invalid-value", "reported and searched with", 3),
        (SEARCHED.replace("0.75, 1]", "0.75, 1, 2]"), "invalid-value", "tries 2 settings", 6),
        (SEARCHED.replace("search: none, ", ""), "missing-key", "`search: none`", 7),
        (SEARCHED.replace(SEARCH, "").replace("search: none, ", "").replace("{search: {prior.base: [0.75, 1]}}", ""),
         "missing-key", "no `search:` above", 4),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(
    tmp_path: Path, grid: str, name: str, words: str, line: int
) -> None:
    found = finding(tmp_path, grid)
    assert (found.name, found.span.start.line) == (name, line), found
    assert words in found.message


@pytest.mark.parametrize("text", ["", "[1, 2]", "7", "vary: {a: }\nvary: {b: }\n", "base: [", "\0"])
def test_what_is_no_grid_is_one_clear_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(PriorError):
        read_grid(write_grid(tmp_path, text))


@pytest.mark.parametrize("vary", ["{}", "[]", "[{}]", "3", "[3]", "{a: 3}", "{a: {set: 3}}", "null"])
def test_no_variants_are_an_error(tmp_path: Path, vary: str) -> None:
    with pytest.raises(PriorError):
        read_grid(write_grid(tmp_path, f"base: train.yaml\noutput_dir: out\nvary: {vary}\n"))


def test_crossing_too_much_is_an_error(tmp_path: Path) -> None:
    axis = "{" + ", ".join(f"v{i}: " for i in range(20)) + "}"
    with pytest.raises(PriorError, match="cells are more than a grid may have"):
        read_grid(
            write_grid(tmp_path, f"base: train.yaml\noutput_dir: out\nvary: [{', '.join([axis] * 4)}]\n")
        )


def test_a_mistake_in_the_training_file_itself_is_of_no_variant(tmp_path: Path) -> None:
    file = write_grid(tmp_path)
    (tmp_path / "train.yaml").write_text("stages: 3\n")
    with pytest.raises(PriorError) as caught:
        _all_cells(file, tmp_path / "priors")
    assert not any("variant" in found.message for found in caught.value.findings)
    assert {Path(found.span.file).name for found in caught.value.findings} == {"train.yaml"}


def test_stages_are_inserted_where_a_variant_asks(tmp_path: Path) -> None:
    branch = "{name: branch, start_from: dense, max_steps: 1}"
    text = GRID.replace(
        "dpsl:", f"dpsl: {{insert_after: {{dense: [{branch}]}}, set: {{stages.branch.seed: 5}}}}"
    )
    cells = reported_cells(
        read_grid(write_grid(tmp_path, text + "seed_places: [stages.shaped.seed]\n")), {}, tmp_path / "priors"
    )
    assert [stage.name for stage in cells[1].plan.stages] == [
        "projector",
        "dense",
        "branch",
        "shaped",
        "finetune",
    ]
    assert cells[1].plan.stage("branch").seed == 5
    assert "branch" not in [stage.name for stage in cells[0].plan.stages]
    found = finding(tmp_path, text.replace("{dense: [", "{dens: ["))
    assert "there is no stage `dens` to insert stages after" in found.message
    assert found.span.start.line == 5


@pytest.mark.parametrize("name", [file.stem for file in EXAMPLES])
def test_the_examples_make_sound_training_files(name: str, digits_data: Path, tmp_path: Path) -> None:
    """On data of forty scans, in a copy of the example."""
    example = tmp_path / "examples" / "digits"
    shutil.copytree(ROOT / "examples/digits", example, ignore=shutil.ignore_patterns("data"))
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    (example / "data").symlink_to(digits_data)
    shown = forecast(read_grid(example / "grids" / f"{name}.yaml"), tmp_path / "priors", (), None, 1)
    assert "once for" in shown
    assert "train exactly the same" not in shown


@pytest.mark.parametrize("name", ["routing.spred", "shaped/routing.spred"])
def test_a_misspelt_metric_of_routing_is_told(tmp_path: Path, name: str) -> None:
    found = finding(tmp_path, GRID + f"metrics: [loss, {name}, routing.load_cov.3]\n")
    assert found.message == "there is no metric `routing.spred`; did you mean `routing.spread`?"
