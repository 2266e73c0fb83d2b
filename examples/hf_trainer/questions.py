"""Questions on scikit-learn's handwritten digits: 64 pixels, one token each, a question in words, and its answer."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_digits
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ASKED = {"digit": "which digit is this ?", "parity": "odd or even ?"}
SHADES = tuple(f"<{shade}>" for shade in range(17))
"""A pixel's token, from white to black."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Every word is a token, every shade of a pixel as well."""
    words = ["<pad>", "<end>", *SHADES, *NAMES, *dict.fromkeys(" ".join(ASKED.values()).split())]
    model = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", eos_token="<end>")


def questions(words: PreTrainedTokenizerFast) -> list[dict[str, Any]]:
    """A record for each scan, its tasks in turn: `input_ids`, `labels` (the answer alone), `task`."""
    scans = load_digits()
    records = []
    for place, (pixels, digit) in enumerate(zip(scans.data.astype(int), scans.target, strict=True)):
        task = tuple(ASKED)[place % len(ASKED)]
        answer = NAMES[digit] if task == "digit" else ("even", "odd")[digit % 2]
        image = " ".join(SHADES[shade] for shade in pixels)
        asked = words(f"{image} {ASKED[task]}").input_ids
        told = words(f"{answer} <end>").input_ids
        records.append({"input_ids": asked + told, "labels": [-100] * len(asked) + told, "task": task})
    return records
