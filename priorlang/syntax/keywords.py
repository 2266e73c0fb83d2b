"""The reserved words of the language, and which of them begin a statement."""

from __future__ import annotations

STATEMENT_KEYWORDS = (
    "import",
    "model",
    "attribute",
    "experts",
    "layers",
    "param",
    "default",
    "rule",
    "schedule",
    "expect",
    "allow",
)

KEYWORDS = frozenset(
    (
        *STATEMENT_KEYWORDS,
        *("priorlang", "adds", "overrides", "for", "and", "in", "not", "all", "base", "share"),
        *("prefer", "avoid", "by", "weight", "unshaped", "split", "ramp", "step", "to", "over", "because"),
    )
)
