"""Batches: padding is masked, and every token has the prior's code of what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpsl.errors import DpslError
from dpsl.train.data import Collator, ConversationDataset, DataSource, count_tokens, load_records
from dpsl.train.data.dataset import IGNORED
from priorlang.table.prior_table import PriorTable, TableAttribute

NAMES = ("instruct", "text", "prose", "caption")


@pytest.fixture(scope="module")
def mixed(digits_data: Path, digits_processor: Any, digits_table: PriorTable) -> ConversationDataset:
    sources = [DataSource(digits_data / f"{name}.json", digits_data / "images") for name in NAMES]
    records = load_records(sources, digits_table)
    order = np.random.default_rng(0).permutation(len(records))[:200]
    return ConversationDataset([records[i] for i in order], digits_processor, table=digits_table)


@pytest.fixture(scope="module")
def collator(mixed: ConversationDataset, digits_table: PriorTable) -> Collator:
    return Collator(pad_token_id=0, image_token_id=mixed.image_token_id, table=digits_table)


def test_padding_is_masked_and_not_learnt(mixed: ConversationDataset, collator: Collator) -> None:
    samples = [mixed[i] for i in range(8)]
    batch = collator(samples)
    assert batch["attention_mask"].sum(1).tolist() == [len(sample.input_ids) for sample in samples]
    padding = batch["attention_mask"] == 0
    assert padding.any()
    assert (batch["labels"][padding] == IGNORED).all()
    assert (batch["input_ids"][padding] == 0).all()
    for row, sample in enumerate(samples):
        assert torch.equal(batch["input_ids"][row, : len(sample.input_ids)], sample.input_ids)
        assert torch.equal(batch["labels"][row, : len(sample.labels)], sample.labels)


def test_vision_is_what_images_expanded_to(mixed: ConversationDataset, collator: Collator) -> None:
    samples = [mixed[i] for i in range(16)]
    batch = collator(samples)
    modality = batch["token_attributes"]["modality"]
    assert torch.equal(modality == 0, batch["input_ids"] == mixed.image_token_id)
    assert set(modality.unique().tolist()) == {0, 1}
    assert len(batch["pixel_values"]) * 16 == int((modality == 0).sum())


def test_pictures_come_in_the_order_of_their_tokens(mixed: ConversationDataset, collator: Collator) -> None:
    samples = [mixed[i] for i in range(16)]
    expected = [
        image for sample in samples if sample.pixel_values is not None for image in sample.pixel_values
    ]
    assert torch.equal(collator(samples)["pixel_values"], torch.stack(expected))


def test_records_decide_the_other_codes(
    mixed: ConversationDataset, collator: Collator, digits_table: PriorTable
) -> None:
    _, dataset, task = digits_table.header.attributes
    attributes = collator([mixed[i] for i in range(32)])["token_attributes"]
    stated = [mixed.records[i].attributes for i in range(32)]
    assert attributes["dataset"].tolist() == [dataset.code(record["dataset"]) for record in stated]
    assert attributes["task"].tolist() == [task.code(record["task"]) for record in stated]
    assert task.code("unknown") in attributes["task"].tolist()


def test_a_batch_of_text_has_no_pixels(mixed: ConversationDataset, collator: Collator) -> None:
    texts = [i for i, record in enumerate(mixed.records) if not record.images][:4]
    batch = collator([mixed[i] for i in texts])
    assert "pixel_values" not in batch
    assert (batch["token_attributes"]["modality"] == 1).all()


def test_a_model_takes_the_batch(mixed: ConversationDataset, collator: Collator, digits_model: Any) -> None:
    batch = collator([mixed[i] for i in range(4)])
    batch.pop("token_attributes")
    assert torch.isfinite(digits_model(0)(**batch).loss)


def test_only_the_prior_s_attributes_come(digits_data: Path, digits_processor: Any, make_table: Any) -> None:
    source = DataSource(digits_data / "text.json")
    table = make_table(TableAttribute("task", ("text-question", "caption")))
    dataset = ConversationDataset(load_records([source], table), digits_processor, table=table)
    batch = Collator(pad_token_id=0, image_token_id=2, table=table)([dataset[0]])
    assert set(batch["token_attributes"]) == {"mask", "task"}
    bare = ConversationDataset(load_records([source]), digits_processor)
    assert set(Collator(pad_token_id=0, image_token_id=2)([bare[0]])["token_attributes"]) == {"mask"}


def test_a_modality_of_other_members_is_refused(make_table: Any) -> None:
    table = make_table(TableAttribute("modality", ("image", "text")))
    with pytest.raises(DpslError, match="image, text, but tokens are vision or language"):
        Collator(pad_token_id=0, image_token_id=2, table=table)


def test_counted_tokens_are_those_of_the_batches(
    mixed: ConversationDataset, collator: Collator, digits_table: PriorTable
) -> None:
    batch = collator([mixed[i] for i in range(len(mixed))])
    codes = batch["token_attributes"]
    counts = np.zeros(digits_table.class_count, np.int64)
    rows, places = np.nonzero(batch["attention_mask"].numpy())
    for row, place in zip(rows, places, strict=True):
        members = {
            attribute.name: attribute.members[
                int(codes[attribute.name][(row, place) if attribute.name == "modality" else row])
            ]
            for attribute in digits_table.header.attributes
        }
        counts[digits_table.class_index(**members)] += 1
    assert count_tokens(mixed, digits_table).tolist() == counts.tolist()
