"""Markdown that is specification and test at once.

A fenced block whose info string begins with `prior` or `yaml` is a source file. What is expected of it
stands in it, as comments at the end of the line where a finding begins:

    rule a: for modality vison prefer 0 by 1      # error: [unknown-member] did you mean `vision`?

Without such comments the file must be clean. A block `prior fragment` is put after PRELUDE, less what
the fragment states itself. A block named in the prose just before it (`` `base.prior`: ``) is a file that
later blocks under the same heading may import. A block `cells` after a source states what cells ask for:

    layer=5 modality=vision: alpha 1.25 1.25 0.75 0.75, weight 0.01

After `prior` or `yaml`, `shares=modality.vision=0.85,modality.language=0.15` and `batch-tokens=4096` are what
`validate` is told beside the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from priorlang.checks.shares import parse_shares

PRELUDE = {
    "model": "model { layers = 24  experts = 8  top_k = 2 }",
    "attribute modality": "attribute modality { vision, language }",
    "attribute task": "attribute task { caption, vqa, reading { ocr, chart }, unknown }",
    "default": "default base 0.75 weight 0.01",
}
_FENCE = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w.-]+\.(?:prior|yaml))`:\s*$")
_MARK = re.compile(r"#\s*(error|warning|info): \[([\w-]+)\](?: (.*?))?\s*(?=# (?:error|warning|info): |$)")


@dataclass(frozen=True)
class Expected:
    """A finding that must be there."""

    line: int
    severity: str
    name: str
    text: str


@dataclass
class Case:
    """One source block, the files beside it, and what is expected."""

    title: str
    file: str
    source: str
    files: dict[str, str] = field(default_factory=dict)
    expected: list[Expected] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    is_fragment: bool = False
    shares: dict[str, dict[str, str]] | None = None
    batch_tokens: float | None = None
    about_checks: bool = False


def read_cases(path: Path) -> list[Case]:
    """Every case of a Markdown file, in order."""
    cases: list[Case] = []
    heading, files, last_end = path.stem, dict[str, str](), 0
    text = path.read_text(encoding="utf-8")
    number = 0
    for fence in _FENCE.finditer(text):
        prose = text[last_end : fence.start()]
        last_end = fence.end()
        headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
        if headings:
            heading, files, number = headings[-1], {}, 0
        kind, flags, body = fence[1], fence[2].split(), fence[3]
        if kind == "cells":
            cases[-1].cells.extend(line for line in body.splitlines() if line.strip())
        elif kind in {"prior", "yaml"} and "sketch" not in flags:
            named = _FILE.search(prose.rstrip() + "\n")
            file = named[1] if named else f"main.{kind}"
            source = with_prelude(body) if "fragment" in flags else body
            number += 1
            title = f"{path.stem}:{heading}:{number}"
            expected = list(_expected(source))
            case = Case(title, file, source, dict(files), expected, is_fragment="fragment" in flags)
            case.about_checks = path.parent.name == "checks"
            for flag in flags:
                name, _, value = flag.partition("=")
                if name == "shares":
                    case.shares = parse_shares(value)
                elif name == "batch-tokens":
                    case.batch_tokens = float(value)
            cases.append(case)
            files[file] = source
    return cases


def with_prelude(body: str) -> str:
    """A fragment made whole, on its own first line so that its lines keep their order."""
    words = ["priorlang 1"]
    for keyword, text in PRELUDE.items():
        if not re.search(rf"^\s*{keyword}\b", body, re.MULTILINE):
            words.append(text)
    return " ".join(words) + "\n" + body


def _expected(source: str) -> list[Expected]:
    found = []
    for line, text in enumerate(source.splitlines(), start=1):
        for mark in _MARK.finditer(text):
            found.append(Expected(line, mark[1], mark[2], (mark[3] or "").strip()))
    return found
