"""Small programs that the tests of the language share."""

from __future__ import annotations

from pathlib import Path

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.phases import Prior
from priorlang.syntax import SourceFile

FILES = Path(__file__).parent / "files"
LANGUAGE_FILES = FILES / "language"

HEAD = """priorlang 1
model { layers = 24  experts = 8  top_k = 2 }
attribute modality { vision, language }
attribute task { caption, vqa, reading { ocr, chart }, unknown }
default base 0.75 weight 0.01
"""
YAML_HEAD = """priorlang: 1
model: {layers: 24, experts: 8, top_k: 2}
attribute:
  modality: [vision, language]
  task: [caption, vqa, {reading: [ocr, chart]}, unknown]
default: {base: 0.75, weight: 0.01}
"""


def prior_of(text: str, name: str = "main.prior") -> Prior:
    """The prior that a text is, under a file name that need not exist."""
    return Prior(SourceFile(name, text))


def findings_of(text: str, name: str = "main.prior") -> list[Finding]:
    """Everything the compiler says about a text."""
    return list(prior_of(text, name).findings)


def said(text: str, name: str = "main.prior") -> list[tuple[str, int]]:
    """Each error as (name, line)."""
    errors = (finding for finding in findings_of(text, name) if finding.severity is Severity.ERROR)
    return [(finding.name, finding.span.start.line) for finding in errors]
