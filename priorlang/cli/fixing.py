"""`validate --fix`: apply the automatic fixes of a prior file and write it, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from priorlang.diagnostics.apply import apply_fixes
from priorlang.diagnostics.finding import Finding, Severity
from priorlang.files import write_whole
from priorlang.model_config import GivenModel
from priorlang.phases import Prior
from priorlang.records import Record
from priorlang.semantics.exact import ExactValue
from priorlang.syntax.source import SourceFile

_ROUNDS = 5
"""One fix may uncover the next: a keyword mended lets the rest of its statement be read."""


class Fixed(Record):
    """What became of the fixes of a file: how many were applied, and why others were left, a line each."""

    count: int
    left: tuple[str, ...]


def fix_file(source: SourceFile, settings: dict[str, ExactValue], model: GivenModel | None) -> Fixed:
    """Fix a file in place.

    Nothing is written where the fixes would leave more errors than there were.

    Raises:
        PriorError: the file cannot be written.
    """
    text, total = source.text, 0
    findings = original = Prior(source, settings, model).findings
    for _ in range(_ROUNDS):
        fixed, count = apply_fixes(source.name, text, findings)
        if not count:
            break
        text, total = fixed, total + count
        findings = Prior(SourceFile(source.name, text), settings, model).findings
    if _errors(findings) > _errors(original):
        reason = f"{source.name}: left as it is: its fixes would leave more errors than there are"
        return Fixed(0, (reason,))
    left = tuple(_left(source.name, findings))
    if not total:
        return Fixed(0, left)
    path = Path(source.name)
    raw = path.read_bytes()
    written = text.replace("\n", "\r\n") if b"\r\n" in raw else text
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    write_whole(path, mark + written.encode())
    return Fixed(total, left)


def _left(file: str, findings: tuple[Finding, ...]) -> Iterator[str]:
    """Why each fix that edits something was not applied, and how many findings have none."""
    unmended = 0
    for finding in findings:
        if finding.fix is None or not finding.fix.edits:
            unmended += finding.severity is Severity.ERROR
            continue
        elsewhere = sorted({edit.span.file for edit in finding.fix.edits} - {file})
        if not finding.fix.automatic:
            reason = "which way to mend it is yours to decide"
        elif elsewhere:
            reason = f"it is to be mended in {', '.join(elsewhere)}"
        else:
            reason = "its fix touches another; run --fix again"
        yield f"{finding.span}: {finding.name} left: {reason}"
    if unmended:
        yield f"{file}: {unmended} {'errors have' if unmended > 1 else 'error has'} no fix that --fix could apply"


def _errors(findings: tuple[Finding, ...]) -> int:
    return sum(finding.severity is Severity.ERROR for finding in findings)
