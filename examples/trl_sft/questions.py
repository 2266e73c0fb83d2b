"""Questions on scikit-learn's handwritten digits, as prompts and completions: 64 pixels, one token each, then words."""

from __future__ import annotations

from datasets import Dataset
from sklearn.datasets import load_digits
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTIONS = ("which digit is this ?", "odd or even ?")
SHADES = tuple(f"<{shade}>" for shade in range(17))
"""A pixel's token, from white to black."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Every word is a token, every shade of a pixel as well."""
    words = ["<pad>", "<end>", *SHADES, *NAMES, *dict.fromkeys(" ".join(QUESTIONS).split())]
    model = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}))
    model.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=model, pad_token="<pad>", eos_token="<end>")


def questions() -> Dataset:
    """A record for each scan, its questions in turn: `prompt` and `completion`, which TRL makes tokens of."""
    scans = load_digits()
    records = []
    for place, (pixels, digit) in enumerate(zip(scans.data.astype(int), scans.target, strict=True)):
        question = place % len(QUESTIONS)
        image = " ".join(SHADES[shade] for shade in pixels)
        answer = (NAMES[digit], ("even", "odd")[digit % 2])[question]
        records.append({"prompt": f"{image} {QUESTIONS[question]}", "completion": f" {answer}"})
    return Dataset.from_list(records)
