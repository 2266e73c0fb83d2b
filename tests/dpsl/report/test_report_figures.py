"""What figures draw: numbers of the files, at the right places, with texts that do not lie on each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_runs import follows, modality_prior, samples_of, write_run

from dpsl.report.comparison.numbers import LayerScores
from dpsl.report.figures.compared_scores import compared_scores_figure
from dpsl.report.figures.forest import ForestRow, forest_figure
from dpsl.report.figures.score_ranges import score_range_figure
from dpsl.report.figures.similarity import similarity_figure
from dpsl.report.figures.simplex import Triangle, on_triple, simplex_figure, triple_of
from dpsl.report.parts.samples import samples_part
from dpsl.report.read import StageRecord, read_run
from dpsl.report.routing import measured_stages
from priorlang.grid.paired import Paired, compare
from priorlang.routing.statistics import score_quantile

ALPHA = np.array([0.6, 1.4, 2.5, 0.9, 1.1])


def test_three_of_a_dirichlet_are_a_dirichlet() -> None:
    generator = np.random.default_rng(0)
    three = list(triple_of(len(ALPHA)))
    assert three == [0, 2, 4]
    points_N3 = on_triple(generator.dirichlet(ALPHA, 40_000), three)
    alpha_3 = ALPHA[three]
    total = alpha_3.sum()
    assert points_N3.mean(0) == pytest.approx(alpha_3 / total, abs=0.006)
    variance_3 = alpha_3 * (total - alpha_3) / (total**2 * (total + 1))
    assert points_N3.var(0) == pytest.approx(variance_3, rel=0.05)


def test_tokens_that_give_the_three_nothing_are_left_out() -> None:
    p_NK = np.array([[0.5, 0.0, 0.25, 0.0, 0.25], [0.0, 1.0, 0.0, 0.0, 0.0]])
    assert on_triple(p_NK, (0, 2, 4)).tolist() == [[0.5, 0.25, 0.25]]


def test_points_lie_where_their_probabilities_are() -> None:
    corners_33 = np.eye(3)
    svg = simplex_figure(
        [("", [Triangle("all", points_N3=np.vstack([corners_33, [[1 / 3] * 3]]))])], (0, 1, 2), 3,
        title="t", description="d", name="s",
    )  # fmt: skip
    assert svg is not None
    moves = [
        re.findall(r"M ([\d.]+) ([\d.]+) \s*L ([\d.]+) ([\d.]+)", d) for d in re.findall(r' d="([^"]+)"', svg)
    ]
    dots = next(found for found in moves if len(found) == 4)
    xy = np.array(dots, float)
    assert np.array_equal(xy[:, :2], xy[:, 2:])
    left, right, top, middle = xy[:, :2]
    assert left[0] < top[0] < right[0]
    assert left[1] == right[1] > top[1]
    assert middle == pytest.approx(xy[:3, :2].mean(0), abs=1e-2)


@pytest.mark.parametrize("experts", [1, 2])
def test_fewer_than_three_experts_have_no_simplex(experts: int) -> None:
    rows = [("", [Triangle("all", points_N3=np.ones((2, experts)))])]
    assert simplex_figure(rows, triple_of(experts), experts, title="t", description="d", name="s") is None


def test_similarity_says_its_numbers() -> None:
    similar_KK = np.array([[1.0, 0.25], [0.25, 1.0]], np.float32)
    svg = similarity_figure([3, 7], np.stack([similar_KK, -similar_KK]), "s")
    assert svg is not None
    assert "layer 3 · mean 0.25. layer 7 · mean -0.25." in svg
    assert svg.count(">0.25<") == svg.count(">-0.25<") + svg.count(">−0.25<") == 2


def test_a_forest_keeps_every_mean_inside_and_cuts_what_is_much_wider() -> None:
    narrow = {f"v{place}": {seed: 0.1 * place + 0.01 * seed for seed in range(3)} for place in range(4)}
    wide = {"wide": {0: -1.0, 1: 5.0, 2: 0.0}}
    zero = dict.fromkeys(range(3), 0.0)
    rows = []
    for name, values in (narrow | wide).items():
        found = compare(values, zero, "higher")
        assert found is not None
        rows.append(ForestRow(name, found, tuple(values.values())))
    svg = forest_figure(rows, "reference", "accuracy", "higher", "f")
    assert svg is not None
    assert "wide: +1.33, interval -6.65 to +9.32, n = 3." in svg.replace("−", "-")
    assert "right is better" in svg
    alone = forest_figure([ForestRow("a", Paired(1, 0.0, None, None, None, 0), (0.0,))], "r", "m", None, "f")
    assert alone is not None
    assert "no interval" in alone
    assert forest_figure([], "r", "m", None, "f") is None


@pytest.mark.parametrize(("experts", "layers"), [(3, 1), (64, 12)])
def test_texts_do_not_lie_on_each_other(tmp_path: Path, experts: int, layers: int) -> None:
    table = modality_prior(tmp_path, layers=layers, experts=experts)
    routing = follows(table, tokens=50)
    stage = StageRecord("moe", table=table, routing=routing, samples=samples_of(table, routing, tokens=30))
    html = samples_part(measured_stages([stage])[0], "moe").html
    figures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(figures) == 2 == html.count("<figcaption")
    for svg in figures:
        boxes = list(_texts(svg))
        assert len(boxes) > 3
        for place, (text, left, low, right, high) in enumerate(boxes):
            for other, left2, low2, right2, high2 in boxes[place + 1 :]:
                apart = right <= left2 or right2 <= left or high <= low2 or high2 <= low
                assert apart, (text, other)


def test_every_peak_that_is_cut_is_named_and_the_prior_stays_legible() -> None:
    edges = np.linspace(0, 1, 41)
    flat_SKE = np.ones((2, 4, 40))
    peaked_SKE = np.full((2, 4, 40), 0.5)
    peaked_SKE[1, :, 10] = [19.0, 20.0, 21.5, 22.0]
    found = [
        LayerScores("dpsl", flat_SKE, ((1.0, np.array([2.0, 2.0, 2.0, 2.0])),)),
        LayerScores("z-loss", peaked_SKE, ()),
        LayerScores("other", 0.5 * peaked_SKE, ()),
    ]
    svg = compared_scores_figure(found, edges, 3, "s")
    assert svg is not None
    assert re.findall(r"↑ ([\d.]+)", svg) == ["19", "20", "21.5", "22", "9.5", "10", "10.8", "11"]
    curves = _curves(svg)
    assert len(curves) == 4
    for curve in curves:
        heights = [float(y) for y in re.findall(r"[ML] [\d.-]+ ([\d.-]+)", curve)]
        # Half of a panel's 0.58 · 0.76 inches of 72 points.
        assert max(heights) - min(heights) > 0.49 * 0.58 * 0.76 * 72


def test_without_a_prior_peaks_are_cut_and_named_all_the_same() -> None:
    edges = np.linspace(0, 1, 41)
    density_SKE = np.ones((1, 4, 40))
    density_SKE[0, 3, 5] = 30.0
    svg = compared_scores_figure([LayerScores("a", density_SKE, ())], edges, 0, "s")
    assert svg is not None
    assert re.findall(r"↑ ([\d.]+)", svg) == ["30"]


def test_ranges_of_many_experts_are_those_of_the_statistics(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1, experts=16)
    routing = follows(table, tokens=4000)
    stage = measured_stages([StageRecord("moe", table=table, routing=routing)])[0]
    svg = score_range_figure(routing, stage.groups, [0, 1], "r")
    assert svg is not None
    median_GK = score_quantile(routing, 0.5)
    for group in (0, 1):
        lowest, highest = int(median_GK[group].argmin()), int(median_GK[group].argmax())
        assert f"(expert {lowest}) to {median_GK[group, highest]:.3g} (expert {highest})." in svg
    assert score_range_figure(routing, stage.groups, [], "r") is None


def test_a_stage_without_samples_says_so(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    stage = StageRecord("moe", table=table, routing=follows(table, tokens=50))
    assert (
        "Single tokens were not kept for this stage" in samples_part(measured_stages([stage])[0], "moe").html
    )


def test_experts_that_cannot_be_run_alone_are_not_drawn(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    routing = follows(table, tokens=50)
    samples = samples_of(table, routing, tokens=30)
    bare = replace(samples, layer=samples.layer[:0], similarity=samples.similarity[:0])
    stage = StageRecord("moe", table=table, routing=routing, samples=bare)
    html = samples_part(measured_stages([stage])[0], "moe").html
    assert "cannot be run one by one" in html
    assert "similarity-moe" not in html


def test_samples_of_other_routing_are_left_out_with_a_remark(tmp_path: Path) -> None:
    table = modality_prior(tmp_path)
    run = write_run(tmp_path / "run", table, {"warmup-moe": follows(table, tokens=50)}, sampled=True)
    wide = modality_prior(tmp_path, experts=6)
    samples_of(wide, follows(wide, tokens=10)).save(run / "stages/warmup-moe/samples.safetensors")
    record = read_run(run)
    assert "samples.safetensors of stage warmup-moe belongs to other routing" in " ".join(record.remarks)
    assert record.stages[2].samples is None


def _curves(svg: str) -> list[str]:
    """Paths of the priors' curves: the lines in the page's ink that are not straight."""
    return [
        d
        for d, style in re.findall(r'<path d="([^"]+)"[^>]*style="([^"]*)"', svg)
        if "stroke: var(--ink)" in style and d.count("L") > 10
    ]


def _texts(svg: str) -> Iterator[tuple[str, float, float, float, float]]:
    """Level texts with a box somewhat within what they cover."""
    for attributes, text in re.findall(r"<text ([^>]*)>([^<]*)</text>", svg):
        named = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        turned = re.search(r"rotate\((-?[\d.]+)", named.get("transform", ""))
        if turned is not None and float(turned[1]):
            continue
        moved = re.search(r"translate\(([\d.-]+) ([\d.-]+)\)", named.get("transform", ""))
        left, low = (float(moved[1]), float(moved[2])) if moved else (float(named["x"]), float(named["y"]))
        size = float(re.findall(r"font-size: ([\d.]+)px", named["style"])[0])
        anchor = re.findall(r"text-anchor: (\w+)", named["style"])
        wide = 0.5 * size * len(text)
        left -= {"middle": wide / 2, "end": wide}.get(anchor[0] if anchor else "start", 0.0)
        yield text, left, low - 0.7 * size, left + wide, low
