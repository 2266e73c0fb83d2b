"""The page of a grid: what it says and shows, whatever is missing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_grids import even, write_grid
from made_runs import follows, statistics_of, undecided

from dpsl.errors import DpslError
from dpsl.report import write_report
from dpsl.report.comparison.numbers import score_edges, scores_in_layer, share_beyond
from dpsl.report.comparison.parts import routing_part
from dpsl.report.comparison.read import read_grid_folder
from priorlang.routing.statistics import RoutingStatistics
from priorlang.table.prior_table import PriorTable
from tests.html_page import HtmlPage

THREE = {
    "sparse": even(0.5),
    "dpsl": {0: {"eval_accuracy": 0.61, "routing.load_cov": 0.1, "spread": 0.7},
             1: {"eval_accuracy": 0.62, "routing.load_cov": 0.12, "spread": 0.5},
             2: {"eval_accuracy": 0.64, "routing.load_cov": 0.09, "spread": 0.5}},
    "worse": {seed: {**numbers, "eval_accuracy": 0.3} for seed, numbers in even(0.5).items()},
}  # fmt: skip


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a finished grid, written once."""
    folder = write_grid(tmp_path_factory.mktemp("grid"), THREE, routing={"dpsl": follows}, sampled=True)
    return page_of(folder)


def page_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def test_it_says_first_what_misses_zero_in_either_direction(html: str) -> None:
    text = HtmlPage(html).text
    assert "Finished: 3 variants × 3 seeds (0, 1, 2), all 9 cells done." in text
    assert (
        "eval_accuracy: of 2 intervals, 2 miss zero: above sparse (better): dpsl; below sparse (worse): worse."
        in text
    )
    assert "routing.load_cov: of 2 intervals, 1 miss zero: below sparse (better): dpsl." in text
    assert (
        "These are 6 intervals: where nothing differed at all, about 0.3 would miss zero by chance." in text
    )
    assert "spread: no 95% interval of a difference to sparse misses zero (2 compared)." in text


def test_numbers_drawn_and_written_are_those_of_the_file(html: str) -> None:
    page = HtmlPage(html)
    assert "0.510 ± 0.010" in page.text
    assert "0.623 ± 0.015" in page.text
    forest = description(html, "forest-eval_accuracy")
    # Differences .11, .11, .12: mean .1133, SE .00333, and 4.30 of these to each side.
    assert "dpsl: +0.113, interval +0.099 to +0.128, n = 3." in forest
    load = description(html, "load-by-layer")
    assert len(re.findall(r"layer \d+ \d\.\d\d", load)) == 9


def test_every_figure_stands_alone_with_title_text_and_caption(html: str) -> None:
    page = HtmlPage(html)
    names = {svg["aria-labelledby"] for svg in page.of("svg")}
    assert len(names) == len(page.of("svg")) == len(page.of("figcaption")) == 8
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    above = re.findall(r"<figure><h3>(.*?)</h3>", html)
    assert above == re.findall(r"<title id[^>]*>(.*?)</title>", html)
    assert "Load CoV, by variant and layer" in above
    assert "eval_accuracy, minus sparse" in above
    for svg in page.of("svg"):
        assert svg["role"] == "img"
        for label in str(svg["aria-labelledby"]).split():
            assert label in ids
    assert not re.findall(r'(?:src|href)="(?!#|data:)', html)


def test_routing_is_of_the_stage_that_a_metric_names(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", {"a": even(0.5, (0,))}, seeds=(0,))
    results = folder / "results.json"
    for name, heading in (("moe/routing.load_cov", "after moe"), ("dense/routing.load_cov", "")):
        results.write_text(results.read_text().replace('"name": "routing.load_cov"', f'"name": "{name}"'))
        grid = read_grid_folder(folder)
        assert grid.routing_stage == name.partition("/")[0]
        html = str(routing_part(grid))
        assert (f"Routing of held-out tokens {heading}" in html) == bool(heading)
        results.write_text(results.read_text().replace(f'"name": "{name}"', '"name": "routing.load_cov"'))


@pytest.mark.parametrize(
    ("trained_on", "whose", "told"),
    [
        ((), "held-out token", None),
        (("a", "b"), "training token", "The routing is that of tokens of the first records trained on"),
        (("b",), "token", "The routing of b is that of tokens of the first records trained on"),
    ],
)
def test_tokens_are_what_the_cells_measured(
    tmp_path: Path, trained_on: tuple[str, ...], whose: str, told: str | None
) -> None:
    values = {"a": even(0.5, (0,)), "b": even(0.6, (0,))}
    folder = write_grid(tmp_path / "grid", values, seeds=(0,), sampled=True, trained_on=trained_on)
    page = HtmlPage(str(routing_part(read_grid_folder(folder))))
    assert f"Routing of {whose}s after the last stage" in page.text
    assert f"Each point is one {whose}, at most" in page.text
    assert (told is None) == ("The routing" not in page.text)
    assert told is None or told in page.text


def test_scores_beyond_the_axis_are_counted(tmp_path: Path) -> None:
    def settled(table: PriorTable, tokens: int, seed: int) -> RoutingStatistics:
        p_K = np.array([0.9, 0.04, 0.03, 0.03])
        return statistics_of(table, lambda _: np.tile(p_K, (tokens, 1)))

    values = {name: even(0.5, (0,)) for name in ("a", "b", "c")}
    folder = write_grid(tmp_path / "grid", values, seeds=(0,), routing={"c": settled})
    grid = read_grid_folder(folder)
    edges = score_edges(grid, 2, range(4))
    assert 0.25 < edges[-1] < 0.5
    assert share_beyond(scores_in_layer(grid, 2, edges), edges, range(4)) == pytest.approx(1.0)
    assert (
        "Up to 100.0% of a variant's scores of an expert lie beyond" in HtmlPage(str(routing_part(grid))).text
    )


def test_variants_with_other_numbers_of_experts_are_left_out_by_name(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", {"a": even(0.5), "b": even(0.6)}, experts=8)
    other = write_grid(tmp_path / "other", {"a": even(0.5)}, experts=4)
    shutil.rmtree(folder / "cells/b")
    shutil.copytree(other / "cells/a", folder / "cells/b")
    html = page_of(folder)
    assert "Left out, having other experts or layers: b." in HtmlPage(html).text
    assert "b: most scores" not in description(html, "compared-scores")


def test_equal_folders_give_equal_bytes(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", {"a": even(0.5, (0,)), "b": even(0.6, (0,))}, seeds=(0,))
    assert page_of(folder) == page_of(folder)


def test_one_seed_has_points_and_no_interval(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", {"a": even(0.5, (0,)), "b": even(0.6, (0,))}, seeds=(0,))
    html = page_of(folder)
    text = HtmlPage(html).text
    assert "one seed, so there is no interval" in text
    assert "b: +0.1, no interval, n = 1." in description(html, "forest-eval_accuracy")


def test_one_variant_is_shown_without_comparison(tmp_path: Path) -> None:
    html = page_of(write_grid(tmp_path / "grid", {"alone": even(0.5)}))
    assert "forest-" not in html
    assert "0.510 ± 0.010" in HtmlPage(html).text


def test_what_failed_and_what_waits_is_said(tmp_path: Path) -> None:
    values = {"sparse": even(0.5), "dpsl": even(0.6, (0,)), "late": {}}
    failed = {("dpsl", 1): "router logits hold NaN <script>"}
    text = HtmlPage(page_of(write_grid(tmp_path / "grid", values, failed=failed))).text
    assert "4 of 9 cells done, 1 failed, 4 waiting" in text
    assert "dpsl has 1 of 3 cells: seed 1 failed, seed 2 waiting." in text
    assert "late has 0 of 3 cells" in text
    assert "dpsl, seed 1: router logits hold NaN <script>" in text


@pytest.mark.parametrize("text", [None, '{"version": 1, "variants": [], "metrics": []}'])
def test_a_grid_without_cells_has_a_page(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "grid.yaml").write_text("base: x\n")
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    assert "No cell of this grid has been reported yet." in HtmlPage(page_of(tmp_path)).text


@pytest.mark.parametrize("text", ["{", "[1]", '{"variants": [{"name": "a"}]}', '{"metrics": [{"what": 1}]}'])
def test_spoilt_results_are_one_clear_message(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DpslError, match=r"results\.json"):
        write_report(tmp_path)


def test_a_cell_that_has_gone_or_is_spoilt_is_told_once(tmp_path: Path) -> None:
    folder = write_grid(tmp_path / "grid", {"a": even(0.5), "b": even(0.6)})
    for seed in (0, 1):
        (folder / f"cells/a/seed-{seed}/stages/moe/routing.safetensors").write_bytes(b"spoilt")
    text = HtmlPage(page_of(folder)).text
    assert text.count("routing.safetensors cannot be read") == 1
    assert "cells/a/seed-0, cells/a/seed-1" in text


def test_no_number_anywhere_and_nan_in_metrics_leave_gaps(tmp_path: Path) -> None:
    values = {"a": {0: dict.fromkeys(("eval_accuracy",), None)}, "b": {0: {}}}
    folder = write_grid(tmp_path / "grid", values, seeds=(0,))
    metrics = folder / "cells/a/seed-0/metrics.jsonl"
    metrics.write_text(re.sub(r'"loss": [\d.e+-]+', '"loss": NaN', metrics.read_text()))
    html = page_of(folder)
    assert "a: last loss" not in description(html, "learning")
    assert "b: last loss" in description(html, "learning")


def test_a_value_that_is_no_number_is_named_and_not_drawn(tmp_path: Path) -> None:
    broken = {0: {"eval_accuracy": float("nan"), "routing.load_cov": float("inf"), "spread": 0.5}}
    folder = write_grid(
        tmp_path / "grid", {"a": even(0.5, (0,)), "b": broken, "c": even(0.4, (0,))}, seeds=(0,)
    )
    html = page_of(folder)
    assert "b:" not in description(html, "forest-eval_accuracy")
    assert "c: -0.1" in description(html, "forest-eval_accuracy")
    assert "eval_accuracy: higher wins. No value: b." in HtmlPage(html).text


def test_many_experts_layers_and_variants_stay_legible(tmp_path: Path) -> None:
    values = {
        f"variant-with-a-rather-long-name-{place:02}": even(0.5 + 0.01 * place, (0,)) for place in range(4)
    }
    folder = write_grid(
        tmp_path / "grid", values, seeds=(0,), experts=64, layers=12, routing={"x": undecided}
    )
    html = page_of(folder)
    assert "Of 64 experts, 4 are shown." in HtmlPage(html).text
    assert "layer 11" in description(html, "load-by-layer")
    assert len(html) < 3_000_000


def description(html: str, name: str) -> str:
    """What a figure says to those who do not see it."""
    found = re.search(rf'<desc id="{name}-text">(.*?)</desc>', html, re.DOTALL)
    assert found is not None, name
    return found[1]
