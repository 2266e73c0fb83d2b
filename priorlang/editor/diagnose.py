"""What there is to say about a text in an editor, and in the files it imports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.editor.workspace import Workspace, is_prior, is_training

ByFile = Mapping[str, tuple[Finding, ...]]


def findings_of(workspace: Workspace, path: str) -> ByFile | None:
    """The findings of a file, by the file they lie in. The file itself always has an entry.

    Returns:
        None where nothing can be said just now: a training file is read from disk, where its paths
        start from, so a text that was not saved keeps the findings it had.
    """
    try:
        source = workspace.source(path)
        if is_training(source):
            return _of_training_file(path, source.text)
        if not is_prior(source):
            return {path: ()}
        return _by_file(path, workspace.prior(path).findings)
    except PriorError as error:
        return _by_file(path, error.findings)
    except Exception as error:
        # An editor's server outlives a fault of the compiler, and says so where the user looks.
        message = f"the compiler failed on this text ({type(error).__name__}: {error})"
        return {path: (Finding("internal-error", Severity.ERROR, message, whole_file(path)),)}


def merged(found: Iterable[ByFile]) -> dict[str, tuple[Finding, ...]]:
    """Findings of several files, by the file they lie in, each once."""
    together: dict[str, dict[tuple[str, Span, str], Finding]] = {}
    for by_file in found:
        for file, findings in by_file.items():
            here = together.setdefault(file, {})
            here.update({(item.name, item.span, item.message): item for item in findings})
    return {
        file: tuple(sorted(items.values(), key=lambda item: item.span)) for file, items in together.items()
    }


def fixable(findings: Iterable[Finding], span: Span) -> list[Finding]:
    """The findings that touch a stretch of a file and come with a change that mends them."""
    return [
        finding
        for finding in findings
        if finding.fix is not None and finding.fix.edits and _touches(finding.span, span)
    ]


def _of_training_file(path: str, text: str) -> ByFile | None:
    from priorlang.syntax.source import read_source
    from priorlang.training import load_plan

    if read_source(path).text != text:
        return None
    try:
        load_plan(path)
    except PriorError as error:
        return _by_file(path, error.findings)
    return {path: ()}


def _by_file(path: str, findings: Iterable[Finding]) -> ByFile:
    found: dict[str, list[Finding]] = {path: []}
    for finding in findings:
        found.setdefault(finding.span.file, []).append(finding)
    return {file: tuple(items) for file, items in found.items()}


def _touches(first: Span, second: Span) -> bool:
    return first.file == second.file and first.start <= second.end and second.start <= first.end
