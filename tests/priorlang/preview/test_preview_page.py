"""The page and the picture: they stand alone, say in words what they draw, and stay small whatever the prior."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from prior_programs import FILES, HEAD

import priorlang.pages.figure
from priorlang.cli.commands import cli
from tests.html_page import HtmlPage

PAPER = """priorlang 1
model { layers = 4  experts = 3  top_k = 1 }
attribute kind { concentrated, dispersed, flat, asymmetric }
default base 1 weight 0.01
rule a: for kind concentrated base 5
rule b: for kind dispersed base 0.2
rule d: for kind asymmetric base (0.75, 0.1, 1.25)
"""
"""The four Dirichlets of the paper's Figure 4."""
HOSTILE = '"<img src=x onerror=alert(1)> & $a_{1$ </svg>"'
PRIORS = {
    "symmetric": "model { layers = 2  experts = 4  top_k = 2 }\ndefault base 1 weight 0.1\n",
    "unshaped": "model { layers = 2  experts = 4  top_k = 2 }\ndefault unshaped\n",
    "two experts, all sizes of α": "model { layers = 2  experts = 2  top_k = 1 }\n"
    "attribute k { tiny, huge, spiky, far, gone }\ndefault base 1 weight 0\n"
    "rule a: for k tiny base 1e-300\nrule b: for k huge base 1e6 prefer 0 by 1e5\nrule c: for k spiky base 1e250\n"
    "rule d: for k far base (1e-9, 1e9)\nrule e: for k gone unshaped\n",
    "256 experts": "model { layers = 60  experts = 256  top_k = 8 }\ndefault base 0.05 weight 0.1\n"
    "rule a: prefer 0..100 by ramp 0.1 to 1 over layers 0..59\n",
    "256 numbers": "model { layers = 3  experts = 256  top_k = 8 }\n"
    f"default base ({', '.join(f'{0.1 + place / 50:.2f}' for place in range(256))}) weight 0.1\n",
    "names": f"model {{ layers = 2  experts = 3  top_k = 1 }}\nattribute k {{ {HOSTILE}, b }}\n"
    f"default base 1 weight 0.1\nrule a: for k {HOSTILE} prefer 0 by 1\n",
}


def preview(folder: Path, text: str, *words: str, to: str = "out.html") -> Result:
    (folder / "a.prior").write_text(text, encoding="utf-8")
    result = CliRunner().invoke(cli, ["preview", str(folder / "a.prior"), "-o", str(folder / to), *words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def page_of(folder: Path, text: str, *words: str) -> tuple[str, HtmlPage]:
    result = preview(folder, text, *words)
    assert (result.exit_code, result.stdout) == (0, f"{folder / 'out.html'}\n"), result.output
    html = (folder / "out.html").read_text(encoding="utf-8")
    return html, HtmlPage(html)


def test_the_page_stands_alone_and_says_what_it_draws(tmp_path: Path) -> None:
    html, page = page_of(tmp_path, PAPER)
    assert not re.search(r"https?:|src=|@import|<script|<link|#0a0b0c", html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    charts = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(charts) == 3
    for chart in charts:
        assert set((chart["aria-labelledby"] or "").split()) <= set(ids)
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) <= set(ids)
    assert "expert 2 with α 1.25, mean 0.595 and a chance of 0.651" in page.text


@pytest.mark.parametrize("ending", ["html", "png"])
def test_the_same_prior_gives_the_same_bytes(tmp_path: Path, ending: str) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        assert preview(tmp_path / name, PAPER, to=f"out.{ending}").exit_code == 0
        contents.append((tmp_path / name / f"out.{ending}").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"<!doctype html>" if ending == "html" else b"\x89PNG")


@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_has_a_page_of_bounded_size(tmp_path: Path, name: str) -> None:
    triple = () if name.startswith("two experts") else ("--experts", "0,1,2")
    html, page = page_of(tmp_path, f"priorlang 1\n{PRIORS[name]}", *triple)
    assert len(html) < 1_500_000
    assert not re.search(r"\b(nan|inf)\b", re.sub(r"\s", " ", page.text.lower()))
    assert not re.search(r'"[^"]*\bnan\b[^"]*"', html)
    assert not any(tag in ("img", "script") for tag, _ in page.tags)


def test_what_is_too_much_is_counted(tmp_path: Path) -> None:
    _, page = page_of(tmp_path, f"priorlang 1\n{PRIORS['256 experts']}")
    assert "Of 60 distinct priors, 1, 6, 12," in page.text
    assert "48 of 60 kinds of layers are shown." in page.text
    _, page = page_of(tmp_path, f"priorlang 1\n{PRIORS['256 numbers']}")
    assert "6 of 256 different α" in page.text
    _, page = page_of(tmp_path, f"priorlang 1\n{PRIORS['256 experts']}", "--at", "layer=7..9")
    assert "3 distinct priors" in page.text


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    _, page = page_of(tmp_path, f"priorlang 1\n{PRIORS['unshaped']}")
    assert "Every cell is unshaped" in page.text
    assert preview(tmp_path, f"priorlang 1\n{PRIORS['unshaped']}", to="out.png").exit_code == 0
    _, page = page_of(tmp_path, f"priorlang 1\n{PRIORS['symmetric']}")
    assert "No expert is preferred anywhere" in page.text


def test_a_picture_shows_what_the_page_shows(tmp_path: Path) -> None:
    from matplotlib.image import imread

    assert preview(tmp_path, PAPER, to="out.png").exit_code == 0
    image = imread(tmp_path / "out.png")
    assert image.shape[1] == 1540
    assert image.shape[0] > 2000
    # Every drawing has left some colour, in its own part of the height.
    coloured = np.flatnonzero((np.ptp(image[..., :3], axis=-1) > 0.3).any(axis=1)) / image.shape[0]
    assert coloured.min() < 0.2
    assert coloured.max() > 0.9


def test_tables_and_runs_can_be_seen_as_well(tmp_path: Path) -> None:
    table = tmp_path / "t.safetensors"
    before = FILES / "golden" / "before.prior"
    assert CliRunner().invoke(cli, ["compile", str(before), "-o", str(table)]).exit_code == 0
    pages = []
    for source in (before, table):
        assert (
            CliRunner().invoke(cli, ["preview", str(source), "-o", str(tmp_path / "o.html")]).exit_code == 0
        )
        pages.append((tmp_path / "o.html").read_text(encoding="utf-8").replace(source.name, ""))
    assert pages[0] == pages[1]


def test_shares_give_the_load_of_all_tokens(tmp_path: Path) -> None:
    rules = "rule a: for modality vision prefer 0..3 by 1\n"
    _, page = page_of(tmp_path, HEAD + rules)
    assert "depends on how many there are of each kind: --shares says it" in page.text
    _, page = page_of(tmp_path, HEAD + rules, "--shares", "modality.vision=3,modality.language=1")
    assert "all tokens, by their shares: from" in page.text
    assert "the members of task taken as equally frequent" in page.text


@pytest.mark.parametrize(
    ("words", "to", "exits", "said"),
    [
        (["--experts", "0,1"], "o.html", 2, "three different experts"),
        (["--experts", "0,1,1"], "o.html", 2, "three different experts"),
        (["--experts", "0,1,x"], "o.html", 2, "three different experts"),
        (["--experts", "0,1,9"], "o.html", 2, "experts run from 0 to 7"),
        (["--shares", "modality.vision=1"], "o.html", 2, "leave out language"),
        (["--at", "layer=99"], "o.html", 2, "does not route"),
        ([], "o.svg", 2, "ends in .html or .png"),
        ([], "no/where.html", 2, "cannot be written"),
        (["--set", "none=1"], "o.html", 2, "none"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_message(
    tmp_path: Path, words: list[str], to: str, exits: int, said: str
) -> None:
    result = preview(tmp_path, HEAD, *words, to=to)
    assert result.exit_code == exits
    assert said in result.output
    assert not (tmp_path / to).exists()


def test_a_broken_prior_is_no_preview(tmp_path: Path) -> None:
    result = preview(tmp_path, HEAD + "rule a: for modality vison prefer 0 by 1\n")
    assert result.exit_code == 1
    assert "did you mean `vision`?" in result.output


@pytest.mark.parametrize("to", ["o.html", "o.png"])
def test_without_matplotlib_the_way_to_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    monkeypatch.setattr(priorlang.pages.figure, "find_spec", lambda name: None)
    result = preview(tmp_path, HEAD, to=to)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "priorlang[figures]" in result.stderr
