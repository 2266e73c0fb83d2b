"""How commands speak: data on standard output, remarks and errors on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from priorlang.cli.exits import FINDINGS, USAGE
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import Style, render
from priorlang.syntax.source import MAXIMUM_BYTES

if TYPE_CHECKING:
    from pathlib import Path

# Findings that say a file could not be had at all: the command's own exit code is about usage and I/O then.
IO_FINDINGS = frozenset(
    {"missing-file", "unreadable-file", "unwritable-file", "invalid-table", "invalid-routing"}
)


MAXIMUM_SHOWN = 200
"""Findings that are shown to people."""


def write_json(document: Mapping[str, Any] | list[Any]) -> None:
    """Print a JSON document."""
    import json

    say(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def say(text: str, *, err: bool = False) -> None:
    """One text and a line end, on standard output or standard error."""
    print(text, file=sys.stderr if err else sys.stdout, flush=True)


def remark(text: str, *, quiet: bool = False) -> None:
    """A remark for a person, on standard error."""
    if not quiet:
        say(text, err=True)


def style_of(stream: Any) -> Style:
    """Colour where the stream is a terminal and NO_COLOR is not set."""
    return Style(colour=bool(stream.isatty()) and "NO_COLOR" not in os.environ)


def print_findings(
    findings: Iterable[Finding], sources: Mapping[str, str] | None = None, *, err: bool = True
) -> None:
    """Findings for people. Sources that are not given are read from disk."""
    every = list(findings)
    listed = every[:MAXIMUM_SHOWN]
    stream = sys.stderr if err else sys.stdout
    say(render(listed, _texts(listed, sources or {}), style_of(stream)), err=err)
    if len(every) > len(listed):
        say(f"\n… and {len(every) - len(listed):,} more; `validate --format json` lists all", err=err)


def fail(error: PriorError, sources: Mapping[str, str] | None = None) -> NoReturn:
    """Print what went wrong and leave: 2 where a file could not be had, else 1."""
    print_findings(error.findings, sources)
    sys.exit(exit_code(error.findings))


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code of a command that stopped at these findings: USAGE where it could not begin."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return USAGE if errors and all(_is_about_the_command(finding) for finding in errors) else FINDINGS


def leave_unread() -> NoReturn:
    """Leave where the reader of our output has gone, as in `priorlang validate … | head`, and say no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(USAGE)


def write_text(path: Path, text: str) -> None:
    """Write a file, or leave with a clear message."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        say(f"error: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(USAGE)


def _is_about_the_command(finding: Finding) -> bool:
    """Whether an option is wrong, or a file that the command names could not be had."""
    whole_file = finding.span.start == finding.span.end
    return finding.span.file.startswith("--") or (finding.name in IO_FINDINGS and whole_file)


def _texts(findings: list[Finding], known: Mapping[str, str]) -> dict[str, str]:
    texts = dict(known)
    for finding in findings:
        for span in (finding.span, *(related.span for related in finding.related)):
            if span.file not in texts and span.file.endswith((".prior", ".yaml", ".yml")):
                texts[span.file] = _text_of(span.file)
    return texts


def _text_of(file: str) -> str:
    """The text of a file as far as it can be shown; empty where it cannot be read."""
    try:
        with open(file, "rb") as stream:
            raw = stream.read(MAXIMUM_BYTES)
    except (OSError, ValueError):
        return ""
    return raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
