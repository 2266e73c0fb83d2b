"""A page for each finding: what it means, an example, what to do. `python -m priorlang.diagnostics.pages`
prints them all, as docs/findings.md has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from priorlang.diagnostics.registry import REGISTRY, Entry

_INTRODUCTION = """# Findings

Everything the compiler can say, by code. `priorlang help CODE` prints a page; `priorlang help` lists them.
A finding is a **fact**, which a place in the file or a witness cell proves, or an **opinion**, which `allow`
silences. Examples marked `fragment` stand after the lines that [the language](language.md) names; a comment
says what is found on its line.

<!-- Generated: `make docs` writes this file from the registry. -->
"""


def page(entry: Entry) -> str:
    """The page of one finding, as Markdown."""
    kind = "an opinion" if entry.heuristic else "a fact"
    parts = [f"## {entry.code} `{entry.name}`", f"{entry.meaning} ({kind.capitalize()}.)"]
    example = examples().get(entry.name)
    if example:
        parts.append(example)
    return "\n\n".join([*parts, f"**What to do.** {entry.advice}"])


def all_pages() -> str:
    """docs/findings.md."""
    return "\n\n".join([_INTRODUCTION.strip(), *(page(entry) for entry in REGISTRY.values())]) + "\n"


@cache
def examples() -> dict[str, str]:
    """The example of each finding that has one, as Markdown."""
    text = files("priorlang.diagnostics").joinpath("examples.md").read_text(encoding="utf-8")
    return dict(_sections(text))


def _sections(text: str) -> Iterator[tuple[str, str]]:
    parts = re.split(r"^## ([\w-]+)\n", text, flags=re.MULTILINE)[1:]
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        yield name, body.strip()


if __name__ == "__main__":
    print(all_pages(), end="")  # noqa: T201
