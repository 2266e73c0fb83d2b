"""Texts to try: soups of the language's own words, sentences of its grammar, and real files with damage."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from priorlang.diagnostics.finding import PriorError
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.reformat import rewritten
from priorlang.syntax.source import SourceFile
from tests.fuzz.sentences import program

_FILES = Path(__file__).parents[1] / "files" / "language"
_DOCS = Path(__file__).parents[2] / "docs" / "language.md"
_PIECE = re.compile(r"\s+|[\w$.%/-]+|.", re.DOTALL)
_WORDS = (
    *sorted(KEYWORDS),
    *(
        "vision",
        "language",
        "modality",
        "task",
        "ocr",
        "unknown",
        "visual",
        "a",
        "b",
        "layers",
        "$boost",
        "$a",
    ),
    *(
        "0",
        "1",
        "3",
        "7",
        "23",
        "0.5",
        "1e3",
        "1e-3",
        "9" * 60,
        "1e999",
        "0..3",
        "..",
        "4..",
        "..2",
        "0%",
        "100%",
    ),
    *(
        '"x y"',
        '"',
        "{",
        "}",
        "(",
        ")",
        "|",
        ",",
        ":",
        "=",
        "<",
        ">=",
        "#",
        "# c\n",
        "\n",
        "-",
        "- ",
        "-1",
        "é",
        "\t",
    ),
    *(
        "not",
        "all",
        "step",
        "share(",
        "load(0)",
        "alpha(1)",
        "&a",
        "*a",
        "!!x",
        "[",
        "]",
        "'",
        "? ",
        "%",
        "\x00",
        "\u2028",
    ),
)
_HEAD = (
    "priorlang 1 model { layers = 4 experts = 4 top_k = 2 } attribute modality { vision, language } "
    "attribute task { ocr, unknown } param boost = 0.5 experts visual = 0..1 default base 1 weight 0.01\n"
)


def corpus() -> list[tuple[str, str]]:
    """Real files to damage, as (form, text)."""
    found = [(path.suffix[1:], path.read_text(encoding="utf-8")) for path in sorted(_FILES.iterdir())]
    fences = re.findall(r"^```(prior|yaml)[^\n]*\n(.*?)^```", _DOCS.read_text(encoding="utf-8"), re.M | re.S)
    found.extend((form, body if body.startswith("priorlang") else _HEAD + body) for form, body in fences)
    return [(form, text) for form, text in found if len(text) < 1500]


def text_of(rng: random.Random, files: list[tuple[str, str]]) -> tuple[str, str]:
    """One text to try, as (file name, text)."""
    kind = rng.random()
    if kind < 0.1:
        return f"fuzz.{rng.choice(('prior', 'yaml'))}", _soup(rng)
    if kind < 0.25:
        return "fuzz.prior", _HEAD + _soup(rng)
    if kind < 0.45:
        return "fuzz.prior", program(rng)
    form, text = _written(rng) if kind < 0.6 else rng.choice(files)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 6))):
        text = rng.choice(_DAMAGES)(rng, text)
    return f"fuzz.{form}", text


def _written(rng: random.Random) -> tuple[str, str]:
    """Sentences in either form, as (form, text)."""
    text = program(rng)
    if rng.random() < 0.6:
        try:
            return "yaml", rewritten(SourceFile("fuzz.prior", text), "fuzz.yaml")
        except PriorError:
            return "prior", text
    return "prior", text


def _soup(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(0, 25)))


def _pieces(rng: random.Random, text: str) -> tuple[list[str], int]:
    pieces = _PIECE.findall(text) or [""]
    return pieces, rng.randrange(len(pieces))


def _replace(rng: random.Random, text: str) -> str:
    pieces, place = _pieces(rng, text)
    pieces[place] = rng.choice(_WORDS)
    return "".join(pieces)


def _insert(rng: random.Random, text: str) -> str:
    pieces, place = _pieces(rng, text)
    pieces.insert(place, f" {rng.choice(_WORDS)} ")
    return "".join(pieces)


def _delete(rng: random.Random, text: str) -> str:
    pieces, place = _pieces(rng, text)
    del pieces[place : place + rng.choice((1, 1, 2, 5))]
    return "".join(pieces)


def _swap(rng: random.Random, text: str) -> str:
    pieces, place = _pieces(rng, text)
    other = rng.randrange(len(pieces))
    pieces[place], pieces[other] = pieces[other], pieces[place]
    return "".join(pieces)


def _repeat(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines) + 1), lines[place])
    return "\n".join(lines)


def _cut(rng: random.Random, text: str) -> str:
    return text[: rng.randint(0, len(text))]


def _character(rng: random.Random, text: str) -> str:
    place = rng.randint(0, len(text))
    return text[:place] + chr(rng.choice((rng.randrange(128), rng.randrange(0xD800)))) + text[place + 1 :]


_DAMAGES: tuple[Callable[[random.Random, str], str], ...] = (
    _replace,
    _insert,
    _delete,
    _swap,
    _repeat,
    _cut,
    _character,
)
