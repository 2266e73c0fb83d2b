"""`python -m priorlang.syntax.grammar_page` prints docs/grammar.md."""

from __future__ import annotations

from priorlang.syntax.build_tables import grammar_text

_INTRODUCTION = """# Grammar

The grammar of [the language](language.md), as the parser reads it: LALR(1), without conflicts. `fragment`, `place`
and `expectation` are start symbols of their own, for recovery and for the leaves of the YAML form.

<!-- Generated: `make docs` writes this file from priorlang/syntax/grammar.lark. -->

```lark
"""


def grammar_page() -> str:
    """The grammar as a page of the documentation."""
    return f"{_INTRODUCTION}{grammar_text()}```\n"


if __name__ == "__main__":
    print(grammar_page(), end="")  # noqa: T201
