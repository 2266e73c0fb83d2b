"""The page: what it says, and that it stands alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from made_runs import compiled, follows, modality_prior, undecided, write_audit, write_run

from dpsl.report import write_figures, write_report
from dpsl.report.read import read_run
from priorlang.pages.figure import evenly_spaced, expert_colours, identifiers
from priorlang.pages.html import page_title
from tests.html_page import HtmlPage


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return _whole_run(tmp_path)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a whole run, written once."""
    return write_report(_whole_run(tmp_path_factory.mktemp("run"))).read_text(encoding="utf-8")


def _whole_run(folder: Path) -> Path:
    table = modality_prior(folder, layers=2)
    write_run(folder, table, {"warmup-moe": follows(table), "finetune": undecided(table)})
    write_audit(folder, table)
    return folder


def test_the_page_says_what_was_measured(html: str) -> None:
    page = HtmlPage(html)
    assert "Finished: 4 stages, 400 optimizer steps." in page.text
    assert "After warmup-moe (shaped by the prior): vision tokens have 0.62" in page.text
    assert "(asked: 0.625), KS at most 0.0" in page.text
    assert re.search(
        r"After finetune \(not shaped\): vision tokens have 0\.[45].*?KS at most 0\.[56]", page.text
    )
    assert (
        "moved by −1.1 points between warmup-moe and finetune (standard error about 1.5 points, from 360 questions), "
        "so chance alone may have done that." in page.text
    )
    assert "moved by +55.8 points" in page.text
    assert "so hardly chance alone" in page.text
    assert "finetune was not shaped" in page.text
    assert "Attained is not the same as correct" in page.text
    assert "95.3 % ± 1.1" in page.text
    assert "Routing of held-out tokens, over all layers. Mass" in page.text
    assert "circles are the loss on held-out data" in page.text
    assert "training tokens, over all layers" not in page.text
    assert "layers.1.mlp.router" in page.text
    assert "1.25 1.25 0.75 0.75" in page.text


def test_routing_of_training_tokens_is_never_called_held_out(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    stages = [{"name": "moe", "moe": True, "shape": True, "eval_data": []}]
    run = write_run(tmp_path, table, {"moe": follows(table, 50)}, stages=stages, sampled=True)
    text = HtmlPage(write_report(run).read_text(encoding="utf-8")).text
    assert "Routing of training tokens, over all layers. After moe: tokens of the first records" in text
    assert "After moe (shaped by the prior; tokens of the first records trained on, as none are held" in text
    assert "held-out data" not in text
    assert "held-out token" not in text


def test_stages_with_and_without_held_out_data_are_told_apart(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    stages = [{"name": "first", "moe": True, "eval_data": []}, {"name": "last", "moe": True}]
    routing = {"first": follows(table, 50), "last": follows(table, 50)}
    run = write_run(tmp_path, table, routing, stages=stages)
    text = HtmlPage(write_report(run).read_text(encoding="utf-8")).text
    assert "Routing of tokens, over all layers. After first: tokens of the first records trained on" in text
    (run / "plan.json").unlink()
    assert [stage.held_out for stage in read_run(run).stages] == [None, True]


def test_figures_come_as_files_too(html: str, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    written = write_figures(write_report(_whole_run(tmp_path)), folder)
    files = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    assert [file.name for file in written] == [
        "loss.svg", "accuracy-projector-to-finetune.svg", "routing.svg", "load-warmup-moe.svg", "scores-warmup-moe.svg",
        "load-finetune.svg", "scores-finetune.svg",
    ]  # fmt: skip
    assert len(files) == len(written) == html.count('class="chart"')
    for text in files.values():
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("width", "").endswith("pt")
        assert root[0].text in HtmlPage(html).texts
        assert "var(" not in text
        assert "#1b1e23" in text


@pytest.mark.parametrize(
    ("kind", "name", "title"),
    [
        ("Run", "digits", "Run digits"), ("Run", "run1", "Report of run1"), ("Grid", "grid", "Report of grid"),
        ("Grid", "methods", "Grid methods"),
    ],
)  # fmt: skip
def test_a_title_does_not_say_run_twice(kind: str, name: str, title: str) -> None:
    assert page_title(kind, name) == title


def test_what_is_folded_away_is_open_on_paper(html: str) -> None:
    printed = html.partition("@media print {")[2].partition("</style>")[0]
    rule = re.search(r"details::details-content \{([^}]*)\}", printed)
    assert rule is not None
    assert "content-visibility: visible" in rule[1]
    assert "display: block" in rule[1]
    # Nothing is folded by other means, which that rule would not open.
    assert html.count("<details>") == html.count("</summary>") > 2
    assert "hidden" not in printed


def test_what_scrolls_shows_that_it_does_on_light_and_dark(html: str) -> None:
    style = html.partition("<style>")[2].partition("</style>")[0]
    rule = re.search(r"\.wide \{([^}]*)\}", style)
    assert rule is not None
    assert rule[1].count("var(--more)") == rule[1].count("no-repeat scroll") == 2
    assert rule[1].count("var(--paper)") == rule[1].count("no-repeat local") == 2
    assert len(set(re.findall(r"--more: (#\w+)", style))) == 2


def test_every_figure_has_its_title_above_it(html: str) -> None:
    figures = re.findall(r"<figure>(.*?)</figure>", html, re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        found = re.match(r"<(h[34])>(.+?)</\1>\n.*?<title[^>]*>(.+?)</title>", figure, re.DOTALL)
        assert found is not None
        assert found[2] == found[3]


def test_stages_whose_names_are_alike_or_odd_keep_figures_of_their_own(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    names = ["../a b", "..-a-b", "A", "a", "ü"]
    stages = [{"name": name, "moe": True} for name in names]
    (run := tmp_path / "run").mkdir()
    write_run(run, table, {name: follows(table, 20) for name in names[1:]}, stages=stages)
    written = [file.name for file in write_figures(write_report(run), tmp_path / "figures")]
    assert {"load-a-b.svg", "load-A.svg", "load-a-2.svg", "load-unnamed.svg"} <= set(written)
    assert len({name.lower() for name in written}) == len(written)
    assert identifiers(["a", "A", "a-2", "../a b", "x" * 99]) == ["a", "A-2", "a-2-2", "a-b", "x" * 60]


def test_the_page_stands_alone(html: str) -> None:
    page = HtmlPage(html)
    assert not re.search(r"https?:|src=|@import|<script|<link", html)
    links = [
        value for _, attributes in page.tags for key, value in attributes.items() if key.endswith("href")
    ]
    assert all(value is not None and value.startswith(("#", "data:image/png")) for value in links)


def test_every_figure_has_a_title_and_a_text_and_ids_are_unique(html: str) -> None:
    page = HtmlPage(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = page.of("svg")
    # Loss, routing over steps, accuracy; then load and scores of two stages.
    assert len(charts) == 7
    for chart in charts:
        assert chart["role"] == "img"
        assert set((chart["aria-labelledby"] or "").split()) <= set(ids)


def test_references_inside_figures_resolve(html: str) -> None:
    wanted = set(re.findall(r'(?:url\(|href=")#([^")]+)', html))
    assert wanted
    assert wanted <= set(re.findall(r' id="([^"]+)"', html))


def test_colours_of_text_follow_the_page(html: str) -> None:
    assert "var(--ink)" in html
    assert "prefers-color-scheme: dark" in html
    assert "#0a0b0c" not in html


def test_equal_runs_give_equal_bytes_wherever_they_go(run: Path, tmp_path: Path) -> None:
    first = write_report(run, tmp_path / "a" / "first.html")
    second = write_report(run)
    assert first.read_bytes() == second.read_bytes()
    assert list(run.glob("report.html*")) == [run / "report.html"] == [second]


NASTY = '<img src=x onerror="alert(1)"> & $\\alpha_{1$ </svg><script>'


def test_names_are_text_wherever_they_appear(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    stages = [{"name": "a"}, {"name": NASTY, "train": [NASTY], "moe": True, "shape": True}]
    write_run(tmp_path, table, {}, stages=stages)
    row = {"stage": NASTY, "step": 100, f"eval_{NASTY}_accuracy": 0.5, "eval_accuracy": 0.5}
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    (tmp_path / "train.yaml").write_text(NASTY, encoding="utf-8")
    (tmp_path / "environment.json").write_text(json.dumps({"packages": {NASTY: NASTY}}), encoding="utf-8")
    audit = {"stage": NASTY, "routers": [{"module": NASTY, "layer": NASTY, "gradient": {NASTY: 1.0}}]}
    (tmp_path / "audit.json").write_text(json.dumps(audit), encoding="utf-8")
    page = HtmlPage(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.of("img") == []
    assert page.of("script") == []
    assert page.text.count(" ".join(NASTY.split())) >= 8


def test_gaps_where_numbers_are_missing_or_not_finite(run: Path) -> None:
    rows = [
        {"stage": "finetune", "step": 101, "loss": float("nan"), "load_cov": None},
        {"stage": "finetune", "step": 102, "loss": float("inf"), "top1_score": "high"},
        {"stage": "finetune", "step": 103, "loss": None},
        {"stage": "finetune", "step": 103, "eval_accuracy": float("nan"), "eval_loss": float("-inf")},
    ]
    with (run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    page = HtmlPage(write_report(run).read_text(encoding="utf-8"))
    assert "nan" not in page.text.lower().split()
    assert len(page.of("svg")) == 7


def test_a_run_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"stages": [{"name": "projector"}]}', encoding="utf-8")
    page = HtmlPage(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Not finished: 0 of 1 stage complete." in page.text
    assert "No stage of this run has experts" in page.text
    assert page.of("svg") == []


def test_a_run_under_way_says_where_it_is(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    write_run(tmp_path, table, {}, done=1)
    with (tmp_path / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"stage": "warmup-dense", "step": 5, "loss": 2.5}\n')
    page = HtmlPage(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Not finished: 1 of 4 stages complete; stage warmup-dense is at step 5." in page.text
    assert "was not measured" not in page.text


def test_a_run_without_a_prior_says_so(tmp_path: Path) -> None:
    stages = [{"name": "moe", "moe": True}]
    page = HtmlPage(write_report(write_run(tmp_path, None, {}, stages=stages)).read_text(encoding="utf-8"))
    assert "This run has no prior" in page.text
    assert "No prior." in page.text


def test_a_run_that_was_never_shaped_says_so(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=1)
    stages = [{"name": "moe", "moe": True, "shape": False}]
    run = write_run(tmp_path, table, {"moe": undecided(table)}, stages=stages)
    page = HtmlPage(write_report(run).read_text(encoding="utf-8"))
    assert "No stage of this run was shaped" in page.text


def test_unknown_numbers_of_questions_mean_no_standard_error(tmp_path: Path) -> None:
    page = HtmlPage(write_report(write_run(tmp_path, None, {}, counts=False)).read_text(encoding="utf-8"))
    assert "how many questions there were is not recorded" in page.text
    assert "±" not in page.text


def test_many_layers_and_experts_are_capped_and_the_caption_says_which(tmp_path: Path) -> None:
    table = modality_prior(tmp_path, layers=24, experts=64)
    run = write_run(tmp_path, table, {"warmup-moe": follows(table, 300)})
    html = write_report(run).read_text(encoding="utf-8")
    page = HtmlPage(html)
    assert "Of 24 layers, 0, 8, 15, 23 are shown." in page.text
    assert "Of 64 experts, 0, 9, 18, 27, 36, 45, 54, 63 are shown." in page.text
    assert len(html) < 1_000_000


def test_unshaped_tokens_are_shown_without_a_curve(tmp_path: Path) -> None:
    text = """priorlang 1
    model { layers = 2  experts = 4  top_k = 2 }
    attribute modality { vision, language }
    default unshaped
    rule vision: for modality vision base 0.75 weight 0.1 prefer 0..1 by 0.5
    """
    table = compiled(tmp_path, text)
    run = write_run(tmp_path, table, {"warmup-moe": follows(table)})
    page = HtmlPage(write_report(run).read_text(encoding="utf-8"))
    assert "unshaped" in page.text
    assert "Layer 0, unshaped: no prior to compare with" in page.text
    assert "Some token classes are unshaped." in page.text


def test_a_symmetric_prior_speaks_of_distances_alone(tmp_path: Path) -> None:
    text = "priorlang 1\nmodel { layers = 2  experts = 4  top_k = 2 }\ndefault base 1.5 weight 0.1\n"
    table = compiled(tmp_path, text)
    run = write_run(tmp_path, table, {"warmup-moe": follows(table)})
    page = HtmlPage(write_report(run).read_text(encoding="utf-8"))
    assert re.search(
        r"After warmup-moe \(shaped by the prior\): [^.]* tokens have KS at most 0\.0", page.text
    )


@pytest.mark.parametrize(
    ("count", "most", "places"), [(3, 4, [0, 1, 2]), (24, 4, [0, 8, 15, 23]), (5, 1, [0])]
)
def test_evenly_spaced_places_keep_the_ends(count: int, most: int, places: list[int]) -> None:
    assert evenly_spaced(count, most) == places


@pytest.mark.parametrize("experts", [2, 8, 9, 64])
def test_every_expert_has_a_colour_of_its_own(experts: int) -> None:
    colours = expert_colours(experts)
    assert len(set(colours)) == experts
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in colours)
