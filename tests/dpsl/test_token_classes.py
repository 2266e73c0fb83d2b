"""What a caller says about tokens: the forms of it, what they come to, and what is refused."""

from __future__ import annotations

import pytest
import torch
from tables import MODALITY, modality_table, symmetric_table
from test_shaper import codes
from tiny_models import batch, tiny
from torch import Tensor

import dpsl
from dpsl.errors import AttachError
from dpsl.shaping.token_classes import token_classes
from priorlang.table.prior_table import UNSHAPED, TableAttribute


def test_codes_choose_rows_and_groups() -> None:
    model = tiny("upcycled")
    table = modality_table(language_shaped=False)
    inputs = batch(padding=0)
    modality = codes(0, inputs["input_ids"])
    shaper = dpsl.attach(model, table)
    with shaper.tokens(modality=modality):
        model(**inputs)
    statistics = shaper.statistics()
    vision = int((modality == 0).sum())
    assert statistics.group_name == (
        "layer 0 · prior 0",
        "layer 0 · unshaped",
        "layer 1 · prior 0",
        "layer 1 · unshaped",
    )
    assert statistics.group_population.tolist() == [0, UNSHAPED, 1, UNSHAPED]
    assert statistics.tokens.tolist() == [vision, modality.numel() - vision] * 2


@pytest.mark.parametrize(
    "modality",
    [
        ["vision", "language", "language"],
        torch.tensor([0, 1, 1]),
        torch.tensor([0, 1, 1])[:, None].expand(3, 12),
    ],
    ids=["names", "per sequence", "per token"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_forms_of_codes_mean_the_same(modality: list[str] | Tensor, masked: bool) -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, modality_table())
    with shaper.tokens(mask=inputs["attention_mask"] if masked else None, modality=modality):
        model(**inputs)
    assert shaper.statistics().tokens.tolist() == [12, 20 if masked else 24] * 2


def test_an_absent_attribute_is_unknown_where_that_is_a_member() -> None:
    attribute = TableAttribute("modality", ("vision", "unknown"))
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, modality_table(attributes=(attribute,)))
    with shaper.tokens():
        model(**inputs)
    assert shaper.statistics().tokens.tolist() == [0, 36] * 2


def test_two_attributes_are_mixed_radix() -> None:
    task = TableAttribute("task", ("caption", "ocr", "unknown"))
    classes = token_classes((MODALITY, task), {"modality": torch.tensor([[0, 1]]), "task": ["ocr"]}, None)
    assert classes.of_tokens(2, torch.device("cpu")).tolist() == [1, 4]


WRONG_TOKENS: dict[str, tuple[dict[str, object], str]] = {
    "unknown attribute": ({"modallity": "vision"}, "did you mean 'modality'"),
    "unknown member": ({"modality": "visoin"}, "did you mean 'vision'"),
    "missing attribute": ({}, "not given"),
    "code out of range": ({"modality": torch.tensor([0, 1, 2])}, "run from 0 to 2"),
    "negative code": ({"modality": torch.tensor([0, 1, -1])}, "run from -1 to 1"),
    "shapes differ": ({"modality": torch.zeros(3, 5, dtype=torch.int64)}, r"\[3, 5\]"),
    "names too few": ({"modality": ["vision"] * 2}, r"\[2\]"),
}


@pytest.mark.parametrize("case", WRONG_TOKENS)
def test_wrong_tokens_are_named(case: str) -> None:
    given, message = WRONG_TOKENS[case]
    shaper = dpsl.attach(tiny("upcycled"), modality_table())
    with pytest.raises(AttachError, match=message), shaper.tokens(mask=batch()["attention_mask"], **given):
        pass


def test_another_number_of_tokens_is_named() -> None:
    model = tiny("upcycled")
    shaper = dpsl.attach(model, symmetric_table())
    with (
        pytest.raises(AttachError, match=r"describes 14 tokens.*saw 36"),
        shaper.tokens(mask=torch.ones(2, 7, dtype=torch.bool)),
    ):
        model(**batch())


@pytest.mark.parametrize("mask", [torch.ones(2, 3), [[1, 1, 0]]])
def test_a_mask_that_may_be_additive_is_refused(mask: object) -> None:
    with pytest.raises(AttachError, match="give an integer or bool tensor"):
        token_classes((MODALITY,), {"modality": "vision"}, mask)


@pytest.mark.parametrize("codes", [torch.full((2, 3), 0.7), 0, [0, 1]])
def test_codes_that_are_no_integers_are_refused(codes: object) -> None:
    with pytest.raises(AttachError, match="give an integer tensor of codes, or names"):
        token_classes((MODALITY,), {"modality": codes}, None)
