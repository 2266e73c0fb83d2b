"""Tokens and labels: exactly the answers and their ends are learnt, and images expand as the processor expands them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dpsl.errors import DataError
from dpsl.train.data.dataset import IGNORED, ConversationDataset
from dpsl.train.data.records import DataSource, Record, load_records
from dpsl.train.data.turns import Turn

WORDS = st.text(alphabet="abcde xyz.?'é\n7", min_size=1, max_size=20).map(str.strip).filter(bool)
ROUNDS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3)


def conversation(rounds: list[tuple[str, str]], images: tuple[Path, ...] = ()) -> Record:
    turns = tuple(t for asked, answered in rounds for t in (Turn("user", asked), Turn("assistant", answered)))
    return Record("test record 0", images, turns, {})


@pytest.fixture(scope="module")
def picture(digits_data: Path) -> Path:
    return sorted((digits_data / "images" / "heldout").iterdir())[0]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS)
def test_labels_cover_exactly_the_answers(digits_processor: Any, rounds: list[tuple[str, str]]) -> None:
    sample = ConversationDataset([conversation(rounds)], digits_processor)[0]
    learnt = sample.labels != IGNORED
    assert torch.equal(sample.labels[learnt], sample.input_ids[learnt])
    decode = digits_processor.tokenizer.decode
    assert decode(sample.labels[learnt]) == "".join(f" {answer}<eos>" for _, answer in rounds)
    assert decode(sample.input_ids[~learnt]) == "".join(f"<user>{asked}<assistant>" for asked, _ in rounds)


@pytest.mark.parametrize("images", [1, 2])
def test_images_expand_as_the_processor_expands_them(
    digits_processor: Any, picture: Path, images: int
) -> None:
    asked = "<image>\n" * images + "Which digit is larger?"
    dataset = ConversationDataset([conversation([(asked, "seven")], (picture,) * images)], digits_processor)
    opened = [Image.open(picture)] * images
    text = f"<user>{asked}<assistant> seven<eos>"
    theirs = digits_processor(images=opened, text=text, return_tensors="pt")
    sample = dataset[0]
    assert torch.equal(sample.input_ids, theirs["input_ids"][0])
    assert torch.equal(sample.pixel_values, theirs["pixel_values"])
    assert (sample.labels != IGNORED).sum() == 2
    assert dataset.lengths[0] == len(sample.input_ids)
    assert dataset.image_tokens[0] == 16 * images


def test_plain_text_is_learnt_whole(digits_processor: Any) -> None:
    record = Record("test", (), (Turn("assistant", "The digits data set."),), {})
    sample = ConversationDataset([record], digits_processor)[0]
    assert torch.equal(sample.labels, sample.input_ids)
    assert digits_processor.tokenizer.decode(sample.input_ids) == "The digits data set.<eos>"
    assert sample.pixel_values is None


def test_the_whole_example_is_measured_right(digits_data: Path, digits_processor: Any) -> None:
    source = DataSource(digits_data / "heldout.json", digits_data / "images")
    dataset = ConversationDataset(load_records([source]), digits_processor)
    samples = [dataset[i] for i in range(len(dataset))]
    assert dataset.lengths.tolist() == [len(sample.input_ids) for sample in samples]
    seen = [int((sample.input_ids == dataset.image_token_id).sum()) for sample in samples]
    assert dataset.image_tokens.tolist() == seen
    assert all((sample.labels != IGNORED).any() for sample in samples)


def test_long_samples_are_cut(digits_processor: Any) -> None:
    record = conversation([("Which?", "seven " * 50)])
    whole = ConversationDataset([record], digits_processor)[0]
    dataset = ConversationDataset([record], digits_processor, max_length=20)
    assert torch.equal(dataset[0].input_ids, whole.input_ids[:20])
    assert torch.equal(dataset[0].labels, whole.labels[:20])
    assert dataset.lengths.tolist() == [20]


@pytest.mark.parametrize(
    ("max_length", "problem"), [(10, "cuts through its images"), (20, "leaves nothing of its answers")]
)
def test_a_cut_that_ruins_a_sample_names_it(
    digits_processor: Any, picture: Path, max_length: int, problem: str
) -> None:
    record = conversation([("<image>\nWhich digit is this?", "seven")], (picture,))
    with pytest.raises(DataError, match="test record 0") as raised:
        ConversationDataset([record], digits_processor, max_length=max_length)
    assert problem in str(raised.value)
    assert "raise max_length" in str(raised.value)


def test_images_need_a_model_that_sees(digits_processor: Any, picture: Path) -> None:
    record = conversation([("<image>\nWhich?", "seven")], (picture,))
    with pytest.raises(DataError, match="reads text alone"):
        ConversationDataset([record], digits_processor.tokenizer)


def test_a_text_model_s_tokenizer_serves(digits_processor: Any) -> None:
    record = conversation([("Which?", "seven")])
    alone = ConversationDataset([record], digits_processor.tokenizer)[0]
    assert torch.equal(alone.input_ids, ConversationDataset([record], digits_processor)[0].input_ids)


def test_an_image_that_breaks_later_is_named(digits_processor: Any, picture: Path, tmp_path: Path) -> None:
    copy = tmp_path / "late.png"
    copy.write_bytes(picture.read_bytes())
    dataset = ConversationDataset([conversation([("<image>Which?", "seven")], (copy,))], digits_processor)
    copy.write_bytes(picture.read_bytes()[:200])
    with pytest.raises(DataError, match=r"test record 0: image .*late.png is broken"):
        dataset[0]


def test_the_image_cache_is_bounded_and_changes_nothing(digits_data: Path, digits_processor: Any) -> None:
    source = DataSource(digits_data / "heldout.json", digits_data / "images")
    records = load_records([source])
    large = ConversationDataset(records, digits_processor)
    none = ConversationDataset(records, digits_processor, image_cache_bytes=0)
    for index in np.random.default_rng(0).integers(len(records), size=10):
        for _ in range(2):
            assert torch.equal(large[int(index)].pixel_values, none[int(index)].pixel_values)


def test_a_beginning_of_sequence_token_comes_first_and_is_not_learnt(digits_processor: Any) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = type(digits_processor.tokenizer.backend_tokenizer).from_str(
        digits_processor.tokenizer.backend_tokenizer.to_str()
    )
    backend.post_processor = TemplateProcessing(single="<user> $A", special_tokens=[("<user>", 3)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<user>", eos_token="<eos>")
    sample = ConversationDataset([conversation([("Which?", "seven")])], tokenizer)[0]
    assert tokenizer.decode(sample.input_ids) == "<user>USER: Which? ASSISTANT: seven<eos>"
    assert sample.labels[0] == IGNORED
    assert sample.input_ids.tolist().count(3) == 1
