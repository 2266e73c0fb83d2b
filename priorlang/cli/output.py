"""How commands speak: data on standard output, remarks and errors on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from priorlang.cli.exits import FINDINGS, USAGE
from priorlang.diagnostics.finding import Finding, PriorError
from priorlang.diagnostics.human import Style, render

# Findings that say a file could not be had at all: the command's own exit code is about usage and I/O then.
IO_FINDINGS = frozenset({"missing-file", "unreadable-file", "unwritable-file", "invalid-table"})


def write_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print a JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def remark(text: str, *, quiet: bool = False) -> None:
    """A remark for a person, on standard error."""
    if not quiet:
        click.echo(text, err=True)


def style_of(stream: Any) -> Style:
    """Colour where the stream is a terminal and NO_COLOR is not set."""
    return Style(colour=bool(stream.isatty()) and "NO_COLOR" not in os.environ)


def print_findings(
    findings: Iterable[Finding], sources: Mapping[str, str] | None = None, *, err: bool = True
) -> None:
    """Findings for people. Sources that are not given are read from disk."""
    listed = list(findings)
    stream = sys.stderr if err else sys.stdout
    click.echo(render(listed, _texts(listed, sources or {}), style_of(stream)), err=err)


def fail(error: PriorError, sources: Mapping[str, str] | None = None) -> NoReturn:
    """Print what went wrong and leave: 2 where a file could not be had, else 1."""
    print_findings(error.findings, sources)
    sys.exit(exit_code(error.findings))


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code of a command that stopped at these findings."""
    listed = list(findings)
    top_level = [finding for finding in listed if finding.name in IO_FINDINGS and _is_whole_file(finding)]
    return USAGE if top_level and len(top_level) == len(listed) else FINDINGS


def write_text(path: Path, text: str) -> None:
    """Write a file, or leave with a clear message."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        click.echo(f"error: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(USAGE)


def _is_whole_file(finding: Finding) -> bool:
    return finding.span.start == finding.span.end


def _texts(findings: list[Finding], known: Mapping[str, str]) -> dict[str, str]:
    texts = dict(known)
    for finding in findings:
        for span in (finding.span, *(related.span for related in finding.related)):
            path = Path(span.file)
            if span.file not in texts and path.suffix in {".prior", ".yaml", ".yml"} and path.is_file():
                texts[span.file] = path.read_bytes()[:4_000_000].decode("utf-8", "replace")
    return texts
