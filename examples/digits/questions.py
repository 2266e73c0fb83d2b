"""What is asked and said about the scans: every record that the example writes, in LLaVA's format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARITIES = ("even", "odd")
HELD_OUT_QUESTIONS = 0.1

DIGIT_QUESTIONS = ("Which digit is this?", "What digit does the image show?", "Read the digit.")
PARITY_QUESTIONS = ("Is this digit even or odd?", "Is the number even or odd?")
COLOUR_QUESTIONS = ("What colour is the digit?", "In which colour is it written?")
LARGER_QUESTIONS = ("Which digit is larger?", "What is the larger of the two digits?")
CAPTION_REQUESTS = ("Describe the image.", "Write a caption.")
CAPTION = "a {colour} handwritten {word}"

Record = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A rendered scan: its file, relative to the images folder, and what it shows."""

    file: str
    digit: int
    colour: str

    @property
    def word(self) -> str:
        """The digit as a word."""
        return WORDS[self.digit]

    @property
    def caption(self) -> str:
        """What a caption says of it."""
        return CAPTION.format(colour=self.colour, word=self.word)


def labels_of(pictures: list[Picture]) -> list[Record]:
    """What the stand-in for the vision tower's pre-training learns."""
    from render import COLOURS

    codes = {colour: code for code, colour in enumerate(COLOURS)}
    return [
        {"id": f"label-{i}", "image": p.file, "labels": {"digit": p.digit, "colour": codes[p.colour]}}
        for i, p in enumerate(pictures)
    ]


def captions(pictures: list[Picture], rng: np.random.Generator) -> list[Record]:
    """One caption per picture."""
    return [_about([p], "caption", _any(CAPTION_REQUESTS, rng), p.caption) for p in pictures]


def digit_questions(pictures: list[Picture], rng: np.random.Generator) -> list[Record]:
    """Which digit each picture shows."""
    return [_about([p], "digit", _any(DIGIT_QUESTIONS, rng), p.word) for p in pictures]


def parity_questions(pictures: list[Picture], rng: np.random.Generator) -> list[Record]:
    """Whether each picture's digit is even or odd."""
    return [_about([p], "parity", _any(PARITY_QUESTIONS, rng), PARITIES[p.digit % 2]) for p in pictures]


def colour_questions(pictures: list[Picture], rng: np.random.Generator) -> list[Record]:
    """Which colour each picture's digit has."""
    return [_about([p], "colour", _any(COLOUR_QUESTIONS, rng), p.colour) for p in pictures]


def larger_questions(pictures: list[Picture], rng: np.random.Generator) -> list[Record]:
    """Each picture beside one of another digit: which is larger. The answer is the digit's word."""
    records = []
    for picture in pictures:
        other = pictures[int(rng.integers(len(pictures)))]
        while other.digit == picture.digit:
            other = pictures[int(rng.integers(len(pictures)))]
        word = WORDS[max(picture.digit, other.digit)]
        records.append(_about([picture, other], "larger", _any(LARGER_QUESTIONS, rng), word))
    return records


def text_questions(rng: np.random.Generator) -> tuple[list[Record], list[Record]]:
    """Questions on digit words without an image: for training, and held out.

    A held-out question is a wording of a fact whose other wordings are learnt.
    """
    asked = [*_comparisons(), *_parities()]
    order = rng.permutation(len(asked))
    held_out = int(len(asked) * HELD_OUT_QUESTIONS)
    records = [_said("questions", "text-question", *asked[i]) for i in order]
    return records[held_out:], records[:held_out]


def caption_sentences() -> list[Record]:
    """Every caption as plain text, so that the language model knows how a caption sounds."""
    from render import COLOURS

    sentences = [CAPTION.format(colour=colour, word=word) for colour, word in product(COLOURS, WORDS)]
    return [_said("questions", "caption", *pair) for pair in product(CAPTION_REQUESTS, sentences)]


def prose_passages(documents: list[str], characters: int) -> list[Record]:
    """Running text, cut between words; a record without a human turn is plain text."""
    passages = [passage for text in documents for passage in _cut(text, characters)]
    return [
        {"conversations": [{"from": "gpt", "value": passage}], "dataset": "descriptions", "task": "prose"}
        for passage in passages
    ]


def numbered(name: str, records: list[Record], rng: np.random.Generator) -> list[Record]:
    """The records in a fixed random order, each with an id made of the file's name."""
    order = rng.permutation(len(records))
    return [{"id": f"{name}-{place}", **records[i]} for place, i in enumerate(order)]


def _comparisons() -> list[tuple[str, str]]:
    wordings = (
        "Which is larger, {a} or {b}?",
        "Of {a} and {b}, which is larger?",
        "What is the larger of {a} and {b}?",
        "{a} or {b}: which is larger?",
        "Which digit is larger: {a} or {b}?",
        "Name the larger of {a} and {b}.",
    )
    pairs = [(a, b) for a, b in product(range(10), repeat=2) if a != b]
    return [(w.format(a=WORDS[a], b=WORDS[b]), WORDS[max(a, b)]) for w, (a, b) in product(wordings, pairs)]


def _parities() -> list[tuple[str, str]]:
    wordings = (
        "Is {a} even or odd?",
        "Even or odd: {a}?",
        "Is the number {a} even or odd?",
        "Is {a} odd or even?",
        "{a}: even or odd?",
        "Is the digit {a} even or odd?",
        "Say whether {a} is even or odd.",
        "What is {a}, even or odd?",
    )
    return [(w.format(a=WORDS[a]), PARITIES[a % 2]) for w, a in product(wordings, range(10))]


def _cut(text: str, characters: int) -> list[str]:
    passages, current = [], ""
    for word in re.findall(r"\S+\s*", text):
        if current and len(current) + len(word) > characters:
            passages.append(current.strip())
            current = ""
        current += word
    return [*passages, current.strip()] if current else passages


def _about(pictures: list[Picture], task: str, question: str, answer: str) -> Record:
    files = [picture.file for picture in pictures]
    return {
        "image": files[0] if len(files) == 1 else files,
        "conversations": [
            {"from": "human", "value": "<image>\n" * len(files) + question},
            {"from": "gpt", "value": answer},
        ],
        "dataset": "digits",
        "task": task,
    }


def _said(dataset: str, task: str, question: str, answer: str) -> Record:
    return {
        "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        "dataset": dataset,
        "task": task,
    }


def _any(wordings: tuple[str, ...], rng: np.random.Generator) -> str:
    return wordings[int(rng.integers(len(wordings)))]
