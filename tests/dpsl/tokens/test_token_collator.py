"""Codes follow their tokens: through padding on either side, packing, flattening, and to every shape that is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tables import modality_table
from tiny_models import EXPERTS, LAYERS, TOP_K, tiny
from torch import Tensor
from transformers import DataCollatorWithFlattening

import dpsl
from dpsl.errors import DpslError
from dpsl.loss import dirichlet_prior_shaping_loss
from priorlang.table.prior_table import PriorTable, TableAttribute

TASK = TableAttribute("task", ("caption", "ocr", "unknown"))
SOURCE = TableAttribute("dataset", ("a", "b"))
MODALITY = TableAttribute("modality", ("vision", "language"))
IMAGE = 9
Feature = dict[str, Any]


def table_of(*attributes: TableAttribute) -> PriorTable:
    return modality_table(attributes=attributes)


def padding(features: Sequence[Feature], *, left: bool) -> dict[str, Tensor]:
    """A collator that pads."""
    assert all(set(feature) <= {"input_ids", "seq_lengths"} for feature in features), (
        "attributes are taken off"
    )
    longest = max(len(feature["input_ids"]) for feature in features)
    rows = []
    for feature in features:
        filler = [0] * (longest - len(feature["input_ids"]))
        rows.append([*filler, *feature["input_ids"]] if left else [*feature["input_ids"], *filler])
    ids = torch.tensor(rows)
    return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def right(features: Sequence[Feature]) -> dict[str, Tensor]:
    return padding(features, left=False)


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    left=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_code_stays_with_its_token(lengths: list[int], left: bool, seed: int) -> None:
    """A token's id is chosen to tell its code."""
    generator = torch.Generator().manual_seed(seed)
    codes = [torch.randint(0, 3, (length,), generator=generator).tolist() for length in lengths]
    features = [{"input_ids": [code + 1 for code in of], "task": of} for of in codes]
    batch = dpsl.TokenCollator(lambda f: padding(f, left=left), table_of(TASK))(features)
    described = batch["token_attributes"]
    counts = described["mask"].bool()
    assert torch.equal(described["task"][counts], batch["input_ids"][counts] - 1)
    assert int(counts.sum()) == sum(lengths)


def test_several_records_in_one_row() -> None:
    """Transformers' own flattening, which pads nothing and starts positions anew."""
    features = [
        {"input_ids": [1, 2, 3], "labels": [1, 2, 3], "task": "ocr", "dataset": "a"},
        {"input_ids": [4, IMAGE], "labels": [4, IMAGE], "task": ["caption", "unknown"], "dataset": "b"},
    ]
    table = table_of(MODALITY, TASK, SOURCE)
    batch = dpsl.TokenCollator(DataCollatorWithFlattening(), table, image_token_id=IMAGE)(features)
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4, IMAGE]]
    described = batch["token_attributes"]
    assert described["task"].tolist() == [[1, 1, 1, 0, 2]]
    assert described["dataset"].tolist() == [[0, 0, 0, 1, 1]]
    assert described["modality"].tolist() == [[1, 1, 1, 1, 0]]
    assert "mask" not in described


def test_samples_of_a_row_packed_beforehand() -> None:
    feature = {"input_ids": [1, 2, 3, 4, 5], "seq_lengths": [2, 3], "task": ["ocr", "caption"]}
    described = dpsl.TokenCollator(right, table_of(TASK))([feature])["token_attributes"]
    assert described["task"].tolist() == [[1, 1, 0, 0, 0]]


def test_whole_sequences_need_no_more_than_a_code_each() -> None:
    features = [{"input_ids": [1], "task": "ocr"}, {"input_ids": [1, 2], "task": "of no kind"}]
    described = dpsl.TokenCollator(right, table_of(TASK))(features)["token_attributes"]
    assert described["task"].tolist() == [1, 2]


def test_modality_is_the_record_s_own_where_it_states_one() -> None:
    feature = {"input_ids": [IMAGE, 1], "modality": ["language", "vision"]}
    described = dpsl.TokenCollator(right, table_of(MODALITY), image_token_id=IMAGE)([feature])[
        "token_attributes"
    ]
    assert described["modality"].tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (
            [{"input_ids": [1], "dataset": "c"}],
            "feature 0 of the batch: dataset: the prior has no such member 'c'",
        ),
        ([{"input_ids": [1]}], "the record does not state it; give every record a column `dataset`"),
        ([{"input_ids": [1], "dataset": 2}], "there is no code 2"),
        ([{"input_ids": [1], "dataset": 0.5}], "it is 0.5; give a name or a code"),
        ([{"input_ids": [1, 2, 3], "dataset": ["a", "b"]}], "2 members for 3 tokens in 1 sample"),
        ([{"input_ids": [], "dataset": []}, {"input_ids": [1, 2], "dataset": ["a"] * 2}], None),
    ],
)
def test_records_that_do_not_fit(features: list[Feature], said: str | None) -> None:
    collate = dpsl.TokenCollator(right, table_of(SOURCE))
    if said is None:
        assert collate(features)["token_attributes"]["dataset"].tolist() == [[0, 0], [0, 0]]
        return
    with pytest.raises(DpslError) as told:
        collate(features)
    assert said in str(told.value)


def test_a_collator_that_cuts_is_found_out() -> None:
    def cut(features: Sequence[Feature]) -> dict[str, Tensor]:
        return right([{"input_ids": feature["input_ids"][:2]} for feature in features])

    with pytest.raises(DpslError, match="it has 3 tokens, its row has 2"):
        dpsl.TokenCollator(cut, table_of(SOURCE))([{"input_ids": [1, 2, 3], "dataset": ["a", "b", "a"]}])


def test_a_collator_without_tokens_is_refused() -> None:
    with pytest.raises(DpslError, match="no `input_ids`"):
        dpsl.TokenCollator(lambda _: {}, table_of(SOURCE))([{"dataset": "a"}])


def test_a_packed_row_shapes_as_its_records_apart_do() -> None:
    """Through a model: the gradient at its last router is that of the same tokens, each with its own prior."""
    features = [
        {"input_ids": [5, 6, 7, 8], "labels": [5, 6, 7, 8], "modality": ["vision"] * 2 + ["language"] * 2},
        {"input_ids": [9, 10, 11], "labels": [9, 10, 11], "modality": "language"},
    ]
    table = modality_table(LAYERS, EXPERTS, TOP_K, weights=(3.0, 0.7))
    model = tiny("mixtral")
    shaper = dpsl.attach(model, table, ranks="sort")
    seen: list[Tensor] = []
    last = [module for name, module in model.named_modules() if name.endswith("gate")][-1]
    last.register_forward_hook(lambda _m, _a, output: (output[0].retain_grad(), seen.append(output[0]))[0])
    batch = dpsl.TokenCollator(DataCollatorWithFlattening(), table)(features)
    with shaper.tokens(**batch.pop("token_attributes")):
        loss = model(**batch).loss
    loss.backward()
    total_NK = seen[0].grad.clone()
    logits_NK = seen[0].detach().requires_grad_()
    population_N = torch.tensor([0, 0, 1, 1, 1, 1, 1])
    explicit = sum(
        (population_N == row).float().mean()
        * table.weight[row]
        * dirichlet_prior_shaping_loss(
            logits_NK, torch.from_numpy(table.alpha[row]), (population_N == row).long() - 1
        )
        for row in range(2)
    )
    explicit.backward()
    shaper.detach()
    model.zero_grad()
    seen.clear()
    model(**batch).loss.backward()
    task_NK = seen[0].grad
    assert torch.allclose(total_NK - task_NK, logits_NK.grad, rtol=1e-3, atol=1e-6)
