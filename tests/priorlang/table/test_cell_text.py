"""Cells as people name them."""

from __future__ import annotations

import pytest
from prior_programs import HEAD, prior_of

from priorlang.diagnostics.finding import PriorError
from priorlang.table.cell_text import parse_cell

SPEC = prior_of(
    HEAD + 'attribute "data set" { "a b", "c=d", "e,f", "", "x#y", unknown }\nrule a: prefer 0 by 1\n'
).spec


@pytest.mark.parametrize(
    ("text", "task", "data_set"),
    [
        ("modality=vision task=ocr layer=5", "ocr", "unknown"),
        ("  layer=5,task=ocr ,  modality=vision\n", "ocr", "unknown"),
        ('modality=vision layer=5 "data set"="a b"', "unknown", "a b"),
        ('"modality"="vision" layer="5" "data set"="e,f"', "unknown", "e,f"),
        ('modality=vision layer=5 "data set"=c=d', "unknown", "c=d"),
        ('modality=vision layer=5 "data set"=""', "unknown", ""),
        ('modality=vision layer=5 "data set"=x#y', "unknown", "x#y"),
    ],
)
def test_a_cell_is_found(text: str, task: str, data_set: str) -> None:
    assert parse_cell(SPEC, text) == (5, {"modality": "vision", "task": task, "data set": data_set})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'a cell needs its layer; write \'modality=vision task=caption "data set"="a b" layer=0\''),
        ("layer=5", "a cell needs its modality"),
        ("layer=24 modality=vision", "layer 24 does not route; layers 0..23 do"),
        ("layer=" + "9" * 5000, "does not route"),
        ("layer=-1", "does not route"),
        ("layer=٣ modality=vision", "does not route"),
        ("layer=5 modality=visoin", "did you mean `vision`"),
        ("layer=5 modalty=vision", "did you mean `modality`"),
        ("layer=5 modality=vision task=reading", "is a parent; a cell has one of its leaves: ocr, chart"),
        ("layer=5 layer=6", "given twice"),
        ("vision", "`vision` is not NAME=VALUE"),
        ('layer=5 "data set', "is not NAME=VALUE"),
        ('layer=5 modality="vision"x', "is not NAME=VALUE"),
        ("=", "is not NAME=VALUE"),
    ],
)
def test_what_names_no_cell_says_why(text: str, message: str) -> None:
    with pytest.raises(PriorError) as error:
        parse_cell(SPEC, text)
    (finding,) = error.value.findings
    assert message in finding.message
    assert finding.span.file == "--at"
