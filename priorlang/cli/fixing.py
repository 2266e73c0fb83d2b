"""`validate --fix`: apply the automatic fixes of a prior file and write it, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from priorlang.diagnostics.apply import apply_fixes
from priorlang.diagnostics.finding import Severity
from priorlang.files import write_whole
from priorlang.model_config import GivenModel
from priorlang.phases import Prior
from priorlang.semantics.exact import ExactValue
from priorlang.syntax.source import SourceFile

_ROUNDS = 5
"""One fix may uncover the next: a keyword mended lets the rest of its statement be read."""


def fix_file(source: SourceFile, settings: dict[str, ExactValue], model: GivenModel | None) -> int:
    """Fix a file in place.

    Nothing is written where the fixes would leave more errors than there were.

    Returns:
        The number of fixes applied.

    Raises:
        PriorError: the file cannot be written.
    """
    text, total = source.text, 0
    before = errors = _errors(source, settings, model)
    for _ in range(_ROUNDS):
        findings = Prior(SourceFile(source.name, text), settings, model).findings
        fixed, count = apply_fixes(source.name, text, findings)
        if not count:
            break
        errors = _errors(SourceFile(source.name, fixed), settings, model)
        text, total = fixed, total + count
    if not total or errors > before:
        return 0
    path = Path(source.name)
    raw = path.read_bytes()
    written = text.replace("\n", "\r\n") if b"\r\n" in raw else text
    mark = b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b""
    write_whole(path, mark + written.encode())
    return total


def _errors(source: SourceFile, settings: dict[str, ExactValue], model: GivenModel | None) -> int:
    findings = Prior(source, settings, model).findings
    return sum(finding.severity is Severity.ERROR for finding in findings)
