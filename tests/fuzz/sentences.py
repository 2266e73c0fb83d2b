"""Sentences of the grammar: texts that parse, made of names that mostly mean something.

Where damage to a real file seldom gets past the parser, these go on to resolving, checking and printing.
"""

from __future__ import annotations

import random
from functools import cache

from priorlang.syntax.build_tables import grammar_parser

DEPTH = 9
"""Nested symbols, after which the shortest way out is taken."""

_FIXED = {
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "COMMA": ",",
    "COLON": ":",
    "VBAR": "|",
    "EQUAL": "=",
    "DOTS": "..",
}
_POOLS = {
    "NUMBER": ("0", "1", "2", "3", "0.5", "0.25", "1e-3", "0.1", "2", "1", "4", "7", "1e300"),
    "REFERENCE": (*("$boost",) * 6, "$low", "$x"),
    "PARAM_NAME": ("boost", "low", "x", "not"),
    "STRING": ('"on purpose"', '"q r"', '"vision"', '"a#b"'),
    "PERCENT": ("0%", "5%", "50%", "100%"),
    "COMPARE": ("<", "<=", ">=", ">"),
}
_STATEMENTS = (
    *("rule",) * 10,
    *("expect", "expect", "experts", "layers", "param", "allow", "schedule", "attribute"),
    *("default", "model", "import"),
)
_WHOLE = ("0", "1", "0", "1", "2", "3", "7", "1.5")
_NAMES = {
    "term": ("modality", "modality", "task", "kind"),
    "members": ("vision", "language", "ocr", "caption", "reading", "chart", "unknown", "v"),
    "experts": ("visual", "textual", "all_of_them"),
    "layers": ("early", "late"),
    "rule": ("vision", "language", "reading", "r1", "r2", "r3", "r4"),
    "setting": ("top_k", "routed"),
    "operand": ("share", "load", "alpha"),
    "allow": ("weak-preference", "load-imbalance", "unknown-by-negation", "conflict"),
    "split": ("modality", "task"),
    "attribute": ("modality", "task", "kind"),
}
_EXPERTS = frozenset({"push", "share", "measure", "experts", "operand"})
_LAYERS = frozenset({"layers", "ramp", "selector"})


def program(rng: random.Random) -> str:
    """A head that means something, and a few statements of the grammar in any order."""
    statements = [sentence(rng, rng.choice(_STATEMENTS)) for _ in range(rng.choice((1, 1, 2, 2, 3, 5)))]
    text = _head(rng) + "\n".join(statements) + "\n"
    if rng.random() < 0.3:
        text = " ".join(word if rng.random() < 0.9 else f"{word} # c\n" for word in text.split(" "))
    return text


def sentence(rng: random.Random, symbol: str) -> str:
    """A random sentence of one symbol of the grammar."""
    return " ".join(_derived(rng, symbol, ())).replace("$ ", "$")


def _head(rng: random.Random) -> str:
    layers, experts = rng.choice((1, 2, 4)), rng.choice((2, 4, 8))
    lines = [
        f"model {{ layers = {layers}  experts = {experts}  top_k = {rng.choice((1, 2))} }}",
        "attribute modality { vision, language }",
        "attribute task { caption, reading { ocr, chart }, unknown }",
        "param boost = 0.5",
        f"experts visual = 0..{experts // 2 - 1}",
        "experts textual = not visual",
        "layers early = 0",
        rng.choice(("default base 1 weight 0.01", "default base 0.75 weight 0.1", "default unshaped")),
    ]
    return "priorlang 1\n" + "\n".join(line for line in lines if rng.random() < 0.97) + "\n"


def _derived(rng: random.Random, symbol: str, above: tuple[str, ...]) -> list[str]:
    expansions, shortest = _grammar()
    if symbol not in expansions:
        return [_terminal(rng, symbol, above)]
    choices = expansions[symbol]
    if len(above) > DEPTH or (symbol.startswith("__") and rng.random() < 0.6):
        choices = [min(choices, key=lambda expansion: sum(shortest[part] for part in expansion))]
    inside = above if symbol.startswith("_") and len(above) <= DEPTH else (*above, symbol)
    return [word for part in rng.choice(choices) for word in _derived(rng, part, inside)]


def _terminal(rng: random.Random, symbol: str, above: tuple[str, ...]) -> str:
    if symbol == "NAME":
        return rng.choice(_NAMES[_kind(above)] if rng.random() < 0.95 else ("x", "weight", "é", "a.b/c-d"))
    if symbol == "NUMBER" and "set" in above:
        return rng.choice(_WHOLE)
    if symbol in _POOLS:
        return rng.choice(_POOLS[symbol])
    return _FIXED.get(symbol, symbol.lower())


def _kind(above: tuple[str, ...]) -> str:
    """A name of what stands inside of these symbols."""
    in_set = "set" in above
    for symbol in reversed(above):
        if in_set and symbol in _EXPERTS:
            return "experts"
        if in_set and symbol in _LAYERS:
            return "layers"
        if in_set and symbol == "term":
            return "members"
        if symbol == "member":
            return "members"
        if symbol == "overrides":
            return "rule"
        if symbol in _NAMES and not (in_set and symbol == "setting"):
            return symbol
    return "rule"


@cache
def _grammar() -> tuple[dict[str, list[list[str]]], dict[str, int]]:
    """The expansions of each symbol, and the length of the shortest text of each."""
    expansions: dict[str, list[list[str]]] = {}
    for rule in grammar_parser().rules:
        parts = [str(part.name) for part in rule.expansion]
        expansions.setdefault(str(rule.origin.name), []).append(parts)
    shortest: dict[str, int] = {}
    for parts in (parts for listed in expansions.values() for parts in listed):
        shortest.update(dict.fromkeys((part for part in parts if part not in expansions), 1))
    while len(shortest) < len({*expansions, *shortest}):
        for symbol, listed in expansions.items():
            known = [
                sum(shortest[part] for part in parts) for parts in listed if all(p in shortest for p in parts)
            ]
            if known:
                shortest[symbol] = min(known)
    return expansions, shortest
