"""Places, findings and answers as the types of the Language Server Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from lsprotocol import types as lsp

from priorlang.diagnostics.finding import Edit, Finding, Severity
from priorlang.diagnostics.span import Position, Span
from priorlang.editor.completion import Completion
from priorlang.editor.outline import Entry
from priorlang.editor.places import Encoding, Lines, from_units, to_units

_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.INFO: lsp.DiagnosticSeverity.Information,
}
_WITHOUT_EFFECT = frozenset({"dead-rule", "shadowed-rule", "redundant-rule", "unused-name"})
_COMPLETION_KINDS = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "attribute": lsp.CompletionItemKind.Class,
    "member": lsp.CompletionItemKind.EnumMember,
    "experts": lsp.CompletionItemKind.Variable,
    "layers": lsp.CompletionItemKind.Variable,
    "rule": lsp.CompletionItemKind.Function,
    "parameter": lsp.CompletionItemKind.Constant,
    "finding": lsp.CompletionItemKind.Value,
    "setting": lsp.CompletionItemKind.Property,
    "measure": lsp.CompletionItemKind.Function,
    "file": lsp.CompletionItemKind.File,
}
_SYMBOL_KINDS = {
    "import": lsp.SymbolKind.File,
    "model": lsp.SymbolKind.Object,
    "attribute": lsp.SymbolKind.Enum,
    "member": lsp.SymbolKind.EnumMember,
    "group": lsp.SymbolKind.Array,
    "parameter": lsp.SymbolKind.Constant,
    "default": lsp.SymbolKind.Object,
    "rule": lsp.SymbolKind.Function,
    "schedule": lsp.SymbolKind.Object,
}
_ORDER = {"parameter": "1", "keyword": "2"}


class Translator:
    """Between the compiler's places and an editor's, for one request.

    Args:
        lines_of: the lines of a file by its path.
        uri_of: what the editor calls a file.
        encoding: the unit of the editor's columns.
        line_end: what ends a line in the editor's text, by path.
    """

    def __init__(
        self,
        lines_of: Callable[[str], Lines],
        uri_of: Callable[[str], str],
        encoding: Encoding,
        line_end: Callable[[str], str] = lambda _: "\n",
    ) -> None:
        self._lines_of = lines_of
        self._uri_of = uri_of
        self._encoding = encoding
        self._line_end = line_end
        self._lines: dict[str, Lines] = {}

    # --- places ----------------------------------------------------------------------------------

    def place(self, path: str, position: lsp.Position) -> Position:
        """An editor's place in a file, as the compiler counts."""
        line = self.lines(path).line(position.line + 1)
        return Position(position.line + 1, from_units(line, position.character, self._encoding))

    def span(self, path: str, given: lsp.Range) -> Span:
        """An editor's range, as the compiler counts."""
        return Span(path, self.place(path, given.start), self.place(path, given.end))

    def range(self, span: Span) -> lsp.Range:
        """A span, as the editor counts."""
        return lsp.Range(self._position(span.file, span.start), self._position(span.file, span.end))

    def location(self, span: Span) -> lsp.Location:
        """A span with its file."""
        return lsp.Location(self._uri_of(span.file), self.range(span))

    def lines(self, path: str) -> Lines:
        """The lines of a file, read once."""
        if path not in self._lines:
            self._lines[path] = self._lines_of(path)
        return self._lines[path]

    def _position(self, file: str, place: Position) -> lsp.Position:
        units = to_units(self.lines(file).line(place.line), place.column, self._encoding)
        return lsp.Position(place.line - 1, units)

    # --- findings and edits ----------------------------------------------------------------------

    def diagnostic(self, finding: Finding) -> lsp.Diagnostic:
        """A finding with its related places, its witness, and advice that no edit can carry out."""
        message = finding.message
        if finding.witness:
            cell = " ".join(f"{key}={value}" for key, value in finding.witness.items())
            message += f"\nat the cell: {cell}"
        if finding.fix is not None and not finding.fix.edits:
            message += f"\nfix: {finding.fix.message}"
        return lsp.Diagnostic(
            self.range(finding.span),
            message,
            severity=_SEVERITIES[finding.severity],
            code=finding.name,
            source="priorlang",
            tags=[lsp.DiagnosticTag.Unnecessary] if finding.name in _WITHOUT_EFFECT else None,
            related_information=[
                lsp.DiagnosticRelatedInformation(self.location(item.span), item.message)
                for item in finding.related
            ]
            or None,
        )

    def quick_fix(self, finding: Finding) -> lsp.CodeAction | None:
        """The fix of a finding as an action, None where it has none."""
        if finding.fix is None or not finding.fix.edits:
            return None
        edits: dict[str, list[Edit]] = {}
        for edit in finding.fix.edits:
            edits.setdefault(edit.span.file, []).append(edit)
        return lsp.CodeAction(
            finding.fix.message[:1].upper() + finding.fix.message[1:],
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[self.diagnostic(finding)],
            is_preferred=finding.fix.is_safe,
            edit=self.workspace_edit(edits),
        )

    def workspace_edit(self, edits: Mapping[str, Iterable[Edit]]) -> lsp.WorkspaceEdit:
        """Edits of several files."""
        return lsp.WorkspaceEdit(
            changes={
                self._uri_of(file): [self.text_edit(edit) for edit in listed]
                for file, listed in edits.items()
            }
        )

    def text_edit(self, edit: Edit) -> lsp.TextEdit:
        """One edit."""
        text = edit.text.replace("\n", self._line_end(edit.span.file))
        return lsp.TextEdit(self.range(edit.span), text)

    # --- answers ---------------------------------------------------------------------------------

    def completion(self, item: Completion) -> lsp.CompletionItem:
        """One thing that can be written; names stand before keywords."""
        typed = self.lines(item.span.file).within(item.span)
        quoted = typed.startswith('"')
        return lsp.CompletionItem(
            item.label,
            kind=_COMPLETION_KINDS[item.kind],
            detail=item.detail or None,
            sort_text=_ORDER.get(item.kind, "0") + item.label,
            filter_text=item.text if quoted else item.label.strip('"'),
            text_edit=self.text_edit(Edit(item.span, item.text)),
        )

    def symbol(self, entry: Entry) -> lsp.DocumentSymbol:
        """One entry of an outline, with those below it."""
        return lsp.DocumentSymbol(
            entry.name,
            _SYMBOL_KINDS[entry.kind],
            self.range(entry.span),
            self.range(entry.name_span),
            detail=entry.detail or None,
            children=[self.symbol(child) for child in entry.children],
        )
