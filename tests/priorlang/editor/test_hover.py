"""Hovers say what names resolve to, and what words mean."""

from __future__ import annotations

import pytest

from priorlang.editor.glossary import KEYWORD_MEANINGS, MEASURE_MEANINGS, SETTING_MEANINGS
from priorlang.editor.hover import hover
from priorlang.syntax.keywords import KEYWORDS
from tests.priorlang.editor.cursor import HEAD, YAML_HEAD, opened


def said(text: str, name: str = "main.prior", **others: str) -> str:
    found = hover(*opened(text, name, **others))
    return found.text if found is not None else ""


def test_every_word_of_the_language_has_a_sentence() -> None:
    assert set(KEYWORD_MEANINGS) == KEYWORDS
    for meanings in (KEYWORD_MEANINGS, SETTING_MEANINGS, MEASURE_MEANINGS):
        assert all(meaning.endswith((".", "behind it.")) for meaning in meanings.values())


def test_a_rule_shows_its_words_and_a_cell() -> None:
    text = said(HEAD.replace("rule vision", "rule vis¦ion"))
    assert "for modality vision prefer 0..3 by 0.5" in text
    assert "At layer 0, modality vision, task caption, λ = 0.01" in text
    assert "| 0..3 | 1.25 | 0.156 | 0.338 |" in text
    assert "| 4..7 | 0.75 | 0.094 | 0.162 |" in text
    assert "Declared in line 9." in text


@pytest.mark.parametrize(
    ("more", "name", "expected"),
    [
        ("rule x overrides vision: for modality vision unshaped\n", "vision", "It acts in no cell."),
        ("rule see: in layers all unshaped\n", "see", "the tokens are left alone"),
        ("rule down: in layers 0 avoid all by 1\n", "down", "which is no Dirichlet"),
    ],
)
def test_rules_without_a_plain_cell(more: str, name: str, expected: str) -> None:
    assert expected in said(f"{HEAD}{more}".replace(f"rule {name}:", f"rule {name}¦:"))


def test_an_error_elsewhere_does_not_silence_it() -> None:
    assert "0.156" in said(HEAD.replace("rule vision", "rule vis¦ion") + "rule broken: prefer nowhere by")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rule x: prefer 0 by $bo¦ost", "`0.5`"),
        ("rule x: prefer vis¦ual by 1", "`0..3` (4 experts)"),
        ("rule x: in layers la¦te prefer 0 by 1", "`12..23` (12 layers)"),
        ("rule x: for ta¦sk ocr prefer 0 by 1", "`caption`, `ocr`, `with space`, `unknown`"),
        ("rule x: for task read¦ing prefer 0 by 1", "Stands for `ocr`, `with space`"),
        ("rule x: for task oc¦r prefer 0 by 1", "Under `reading`"),
        ("rule x: pre¦fer 0 by 1", KEYWORD_MEANINGS["prefer"]),
        ("allow weak-¦preference because", "PL601"),
        ("expect lo¦ad(visual) > 0", MEASURE_MEANINGS["load"]),
        ("rule x: prefer nothi¦ng by 1", ""),
        ("# pre¦fer", ""),
    ],
)
def test_names_and_words(text: str, expected: str) -> None:
    found = said(HEAD + text)
    assert expected in found
    assert bool(expected) == bool(found)


def test_settings() -> None:
    assert said(HEAD.replace("top_k", "top¦_k")) == SETTING_MEANINGS["top_k"]


def test_the_place_of_an_imported_name() -> None:
    text = 'priorlang 1\nimport "base.prior"\nrule x: prefer 0 by $bo¦ost'
    assert "Declared in `base.prior`, line 7." in said(text, base_prior=HEAD)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("prefer:", "pre¦fer:", KEYWORD_MEANINGS["prefer"]),
        ("$boost", "$boo¦st", "`0.5`"),
        ("{visual: $", "{vis¦ual: $", "`0..3` (4 experts)"),
        ("priorlang: 1", "priorlang: 1 # for¦ all", ""),
    ],
)
def test_in_yaml(before: str, after: str, expected: str) -> None:
    found = said(YAML_HEAD.replace(before, after), "main.yaml")
    assert expected in found
    assert bool(expected) == bool(found)
