"""Tokens by the word of a training file, and the share of its records that it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import priorlang
from dpsl.errors import DpslError
from dpsl.train.data import DataSource, load_records
from dpsl.train.data.records import kept_count, kept_indices
from dpsl.train.forecast import data_forecast
from dpsl.train.forecast.tokens import TokenForecast
from priorlang.table.prior_table import PriorTable
from priorlang.training.plan import StagePlan

PRIOR = """\
priorlang 1
model { layers = 2  experts = 4  top_k = 2 }
attribute modality { vision, language }
attribute task { vqa, caption UNKNOWN}
default base 1 weight 0.01
rule a: for modality vision and task vqa prefer 0 by 1
rule b: for modality language prefer 1 by 1
"""


def table_of(folder: Path, unknown: str = ", unknown") -> PriorTable:
    file = folder / "p.prior"
    file.write_text(PRIOR.replace(" UNKNOWN", unknown))
    return priorlang.compile(priorlang.load(file))


def stage_of(*sources: dict[str, object]) -> StagePlan:
    return StagePlan.model_validate({"data": list(sources), "shape": True})


def test_each_population_gets_what_its_sources_say(tmp_path: Path) -> None:
    stage = stage_of(
        {
            "path": "a",
            "task": "vqa",
            "fraction": 0.5,
            "expected": {"records": 10, "images": 4, "text_tokens": 7},
        },
        {"path": "b", "expected": {"records": 3, "text_tokens": 2}},
        {"path": "c", "task": "caption", "expected": {"records": 2, "images": 0}},
    )
    found = data_forecast(stage, table_of(tmp_path), tokens_per_image=9)
    assert found.samples == 5 + 3 + 2
    tokens = found.populations(table_of(tmp_path))
    vision_vqa, vision_other, language = (
        tokens[f"layer 1 · {name}"] for name in ("vision, vqa", "vision, caption | unknown", "language")
    )
    assert vision_vqa == TokenForecast(2 * 9)
    assert vision_other == TokenForecast(3 * 9)
    assert language == TokenForecast(5 * 7 + 3 * 2, complete=False)


def test_a_source_that_says_too_little(tmp_path: Path) -> None:
    with pytest.raises(DpslError, match=r"expected: \{records"):
        data_forecast(stage_of({"path": "a"}), None, 9)
    with pytest.raises(DpslError, match="no `task`"):
        data_forecast(stage_of({"path": "a", "expected": {"records": 1}}), table_of(tmp_path, ""), 9)


@given(records=st.integers(0, 300), fraction=st.floats(0.001, 1))
def test_a_fraction_keeps_the_same_records_in_order(records: int, fraction: float) -> None:
    kept = list(kept_indices(records, fraction))
    assert kept == list(kept_indices(records, fraction)) == sorted(set(kept))
    assert len(kept) == kept_count(records, fraction)
    assert abs(len(kept) - fraction * records) <= 1
    assert bool(kept) == bool(records)


def test_a_fraction_of_a_file_is_read(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
    file = tmp_path / "a.json"
    file.write_text(json.dumps([{"id": str(i), "conversations": turns} for i in range(20)]))
    places = [record.place for record in load_records([DataSource(file, fraction=0.25)])]
    assert [f"record {i} " in place for i, place in zip(kept_indices(20, 0.25), places, strict=True)] == [
        True
    ] * 5
