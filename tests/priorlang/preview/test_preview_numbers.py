"""What a preview says in numbers: which cells are meant, what stands together, strengths, loads and samples."""

from __future__ import annotations

import numpy as np
import pytest
from prior_programs import HEAD, prior_of

from priorlang.checks.shares import ClassShares
from priorlang.diagnostics.finding import PriorError
from priorlang.preview.load import load_of, total_load
from priorlang.preview.selection import everything, parse_selection
from priorlang.preview.simplex import sample_shares
from priorlang.preview.view import View, expert_groups, view_of
from priorlang.table.dirichlet import top_k_load
from priorlang.table.prior_table import PriorTable

RULES = (
    "rule vision: for modality vision prefer 0..3 by 0.5\n"
    "rule reading: for task reading in layers ..5 prefer 7 by 1\n"
    "rule last: in layers 23 unshaped\n"
    "rule heavy: in layers 9 weight 0.5\n"
)


def table_of(rules: str = RULES) -> PriorTable:
    return prior_of(HEAD + rules).table


def view(text: str | None = None, rules: str = RULES) -> View:
    table = table_of(rules)
    return view_of(table, everything(table) if text is None else parse_selection(table, text))


@pytest.mark.parametrize(
    ("text", "layers", "classes"),
    [
        ("", 24, 10),
        ("layer=5", 1, 10),
        ("layer=..3|20..", 8, 10),
        ("modality=vision", 24, 5),
        ("modality=vision task=reading layer=0", 1, 2),
        ("task=reading|vqa, modality=vision|language", 24, 6),
        ('"task"="ocr"', 24, 2),
    ],
)
def test_cells_are_chosen_by_members_parents_and_ranges(text: str, layers: int, classes: int) -> None:
    chosen = parse_selection(table_of(), text)
    assert (len(chosen.layers), len(chosen.classes)) == (layers, classes)
    assert chosen.whole == (layers * classes == 240)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layer=24", "does not route; layers 0..23 do"),
        ("layer=x", "is no layer"),
        ("layer=5..3", "does not route"),
        ("task=orc", "did you mean `ocr`?"),
        ("taks=ocr", "did you mean `task`?"),
        ("vision", "is not NAME=VALUE"),
        ("task=ocr task=vqa", "given twice"),
    ],
)
def test_what_names_no_cells_is_one_clear_error(text: str, words: str) -> None:
    with pytest.raises(PriorError) as caught:
        parse_selection(table_of(), text)
    assert words in caught.value.findings[0].message


def test_layers_and_tokens_that_ask_for_the_same_stand_together() -> None:
    seen = view()
    assert seen.layers == ("0..5", "6..22", "23")
    assert seen.kinds == (
        "vision · not reading",
        "vision · reading",
        "language · not reading",
        "language · reading",
    )
    assert [prior.where for prior in seen.priors] == [
        "layers 6..22 · modality vision, and layers 0..5 · modality vision · task not reading",
        "layers 0..5 · modality vision · task reading",
        "layers 6..22 · modality language, and layers 0..5 · modality language · task not reading",
        "layers 0..5 · modality language · task reading",
    ]
    assert sum(prior.cells for prior in seen.priors) + seen.unshaped == seen.cells == 240
    assert seen.priors[0].weights == (0.01, 0.5)
    assert view("layer=3 task=reading").layers == ("3",)


def test_strength_is_that_of_the_notes() -> None:
    """Base .75 and a boost of .5 on two of eight: means .178 and .107, in the top two .40 and .20."""
    high, low = expert_groups(np.array([1.25] * 2 + [0.75] * 6), 2)
    assert (high.experts, low.experts) == ((0, 1), (2, 3, 4, 5, 6, 7))
    assert [high.mean, low.mean] == pytest.approx([0.1786, 0.1071], abs=1e-4)
    assert [high.enters, low.enters] == pytest.approx([0.40, 0.20], abs=5e-3)


def test_loads_are_those_of_the_priors_and_add_up_by_shares() -> None:
    table = table_of()
    share_C = np.arange(1.0, 11.0) / 55
    seen = view_of(table, everything(table), ClassShares(share_C))
    assert seen.shares is not None
    assert sum(seen.shares) == pytest.approx(1)
    total_LK = total_load(seen, [0, 1, 2])
    for place, layer in enumerate((0, 6)):
        loads = top_k_load(table.alpha[table.row[layer]], table.header.top_k)
        np.testing.assert_allclose(total_LK[place], share_C @ loads, atol=1e-12)
    assert np.isnan(total_LK[2]).all()
    assert np.isnan(load_of(seen, [2], [0])).all()


@pytest.mark.parametrize(
    "alpha", [(5, 5, 5), (0.75, 0.1, 1.25), (1e-5, 1e-5, 2e-5), (1e200, 1e200, 2e200), (1e-300, 1, 1)]
)
def test_samples_lie_on_the_simplex_around_the_mean(alpha: tuple[float, ...]) -> None:
    given = np.array(alpha, dtype=float)
    shares = sample_shares(given, 4000)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(shares.mean(axis=0), given / given.sum(), atol=4 * 0.5 / np.sqrt(4000))
    np.testing.assert_array_equal(shares, sample_shares(given, 4000))
