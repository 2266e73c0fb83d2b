"""Codes made before a processor expands its images hold for the same tokens after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import AutoProcessor

from dpsl.errors import DpslError
from dpsl.tokens import expand_codes

IMAGE = 99


def test_an_answer_after_an_image_keeps_its_label(digits_data: Path) -> None:
    """LLaVA's own processor: each image becomes 16 tokens; question 0, image 1, answer 2."""
    processor = AutoProcessor.from_pretrained(digits_data / "model")
    image = Image.new("RGB", (32, 32))
    pieces = [("USER: ", 0), ("<image>", 1), (" Which is larger? ", 0), ("<image>", 1), (" seven", 2)]
    tokenizer, token = processor.tokenizer, processor.image_token
    ids, codes = [], []
    for text, code in pieces:
        of_piece = tokenizer(text.replace("<image>", token), add_special_tokens=False).input_ids
        ids += of_piece
        codes += [code] * len(of_piece)
    text = tokenizer.decode(ids)
    expanded = processor(text=text, images=[image, image], return_tensors="pt").input_ids[0]
    image_id = tokenizer.convert_tokens_to_ids(token)
    own = tokenizer(text).input_ids
    start = len(own) - len(ids)
    if start:
        codes = [0] * start + codes
    after = expand_codes(torch.tensor(codes), torch.tensor(own), expanded, image_id)
    assert len(after) == len(expanded) == len(own) + 2 * 15
    assert torch.equal(after == 1, expanded == image_id)
    answer = tokenizer(" seven", add_special_tokens=False).input_ids
    assert expanded[after == 2].tolist() == answer


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), min_size=1, max_size=8))
def test_every_token_keeps_its_code(parts: list[tuple[bool, int]]) -> None:
    """Images that touch have one length, those apart any."""
    ids, after, expected = [], [], []
    length = 1
    for place, (is_image, size) in enumerate(parts):
        touches = is_image and place > 0 and parts[place - 1][0]
        length = length if touches else size
        ids.append(IMAGE if is_image else place)
        after += [IMAGE] * length if is_image else [place]
        expected += [place] * (length if is_image else 1)
    found = expand_codes(torch.arange(len(ids)), torch.tensor(ids), torch.tensor(after), IMAGE)
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1, IMAGE, 2], [1, IMAGE, IMAGE, 3], "the text of the two sequences differs"),
        ([1, IMAGE, 2], [1, 2], "1 run(s) of images became 0"),
        ([IMAGE, IMAGE], [IMAGE] * 5, "2 images side by side became 5 tokens"),
    ],
)
def test_sequences_that_are_not_one_another(before: list[int], after: list[int], said: str) -> None:
    with pytest.raises(DpslError) as told:
        expand_codes(torch.arange(len(before)), torch.tensor(before), torch.tensor(after), IMAGE)
    assert said in str(told.value)


def test_separators_within_an_image_belong_to_it() -> None:
    """As with Pixtral, whose rows end in a token of their own."""
    found = expand_codes(
        torch.tensor([0, 1, 2]),
        torch.tensor([1, 50, 2]),
        torch.tensor([1, 50, 50, 51, 50, 50, 52, 2]),
        {50, 51, 52},
    )
    assert found.tolist() == [0, 1, 1, 1, 1, 1, 1, 2]
