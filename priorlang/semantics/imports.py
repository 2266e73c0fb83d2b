"""Following `import`: a prior file and every file it stands on, each read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from priorlang.diagnostics.finding import Finding, PriorError, Related, Severity
from priorlang.diagnostics.span import Span
from priorlang.records import Record
from priorlang.syntax import SourceFile, parse, read_source
from priorlang.syntax.tree import Document, Import

MAXIMUM_FILES = 100


class ProgramFile(Record):
    """One file of a program: its tree, and the files it imports, by name."""

    source: SourceFile
    document: Document
    imports: tuple[tuple[str, Span], ...]


class Program(Record):
    """A prior file and all it imports. `files` is in reading order: a file comes after its imports."""

    root: str
    files: Mapping[str, ProgramFile]

    def below(self, name: str) -> frozenset[str]:
        """The files that a file stands on, directly or not."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for imported, _ in self.files[waiting.pop()].imports:
                if imported not in found and imported in self.files:
                    found.add(imported)
                    waiting.append(imported)
        return frozenset(found)


def load_program(
    root: SourceFile, read: Callable[[str], SourceFile] = read_source
) -> tuple[Program, list[Finding]]:
    """Parse a file and what it imports. A file that cannot be read is a finding at its `import`.

    Args:
        root: the file that imports the others.
        read: gives an imported file by its path; an editor has texts that no disk holds yet.
    """
    loader = _Loader(read)
    loader.load(root, os.path.realpath(root.name), [])
    return Program(root.name, loader.files), loader.findings


def _shortest(path: str, target: str) -> str:
    """The path without `a/..`, unless a link makes that another file."""
    short = os.path.normpath(path)
    return short if os.path.realpath(short) == target else path


class _Loader:
    def __init__(self, read: Callable[[str], SourceFile]) -> None:
        self.read = read
        self.files: dict[str, ProgramFile] = {}
        self.findings: list[Finding] = []
        self.names: dict[str, str] = {}

    def load(self, source: SourceFile, real: str, above: list[tuple[str, Span]]) -> None:
        self.names[real] = source.name
        document, findings = parse(source)
        self.findings.extend(findings)
        imports: list[tuple[str, Span]] = []
        for statement in document.statements:
            if isinstance(statement, Import):
                name = self.follow(source, real, statement, above)
                if name is not None:
                    imports.append((name, statement.span))
        self.files[source.name] = ProgramFile(source, document, tuple(imports))

    def follow(
        self, source: SourceFile, real: str, statement: Import, above: list[tuple[str, Span]]
    ) -> str | None:
        written = statement.path.text
        if not written or "\0" in written:
            self.report("missing-file", "an import names a file", statement.path.span)
            return None
        path = os.path.join(os.path.dirname(source.name), written)
        target = os.path.realpath(path)
        here = [*above, (real, statement.span)]
        if target in {file for file, _ in here}:
            begin = [file for file, _ in here].index(target)
            ring = [Related("through this import", span) for _, span in here[begin:-1]]
            message = f"the imports go round in a circle: {statement.path.text} leads back to itself"
            self.report("import-cycle", message, statement.span, tuple(ring))
            return None
        if target in self.names:
            return self.names[target]
        if len(self.names) >= MAXIMUM_FILES:
            self.report("import-cycle", f"a program has at most {MAXIMUM_FILES} files", statement.span)
            return None
        try:
            imported = self.read(_shortest(path, target))
        except PriorError as error:
            finding = error.findings[0]
            self.report(finding.name, finding.message, statement.path.span)
            return None
        self.load(imported, target, here)
        return imported.name

    def report(self, name: str, message: str, span: Span, related: tuple[Related, ...] = ()) -> None:
        self.findings.append(Finding(name, Severity.ERROR, message, span, related))
