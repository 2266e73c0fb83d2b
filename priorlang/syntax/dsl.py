"""The DSL form: text → tree.

A file that is right is read in one go. One that is not is cut into statements, each read on its own,
so that every broken statement gives one finding and the others still count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Position, Span, whole_file
from priorlang.diagnostics.suggest import closest
from priorlang.syntax import tree as t
from priorlang.syntax.builder import Origin
from priorlang.syntax.comments import comments_of
from priorlang.syntax.keywords import STATEMENT_KEYWORDS
from priorlang.syntax.messages import line_column, syntax_findings, text_place
from priorlang.syntax.parser import MisreadError, parse_text
from priorlang.syntax.recovery import (
    MAXIMUM_DEPTH,
    MAXIMUM_WORDS,
    Chunk,
    declared_name,
    pieces_of,
    statements_of,
    too_deep,
    too_long,
)
from priorlang.syntax.source import SourceFile

LANGUAGE_VERSION = "1"
MAXIMUM_ERRORS = 100
"""Syntax errors reported of one file; a file with more is no prior file."""


def parse_dsl(source: SourceFile) -> tuple[t.Document, list[Finding]]:
    """Read a `.prior` file. The document holds every statement that could be read."""
    if too_long(source.text):
        return _refused(source)
    comments = comments_of(source)
    if too_deep(source.text) is not None:
        return _parse_in_pieces(source, comments)
    try:
        document: t.Document = parse_text(source.text, "start", Origin(source.name))
    except MisreadError:
        return _parse_in_pieces(source, comments)
    findings = list(version_findings(document.version, document.span))
    return _with_comments(document, comments), findings


def parse_phrase(text: str, symbol: str, origin: Origin) -> tuple[Any, list[Finding]]:
    """Read a phrase of the language, a leaf of the YAML form say, from one start symbol of the grammar.

    Returns:
        The node, or None where it cannot be read, and the findings.
    """
    try:
        return parse_text(text, symbol, origin), []
    except MisreadError as error:
        return None, syntax_findings(error, text, symbol, origin)


def version_findings(version: t.NumberLiteral | None, place: Span) -> list[Finding]:
    """What is wrong with the `priorlang 1` of a file."""
    if version is None:
        start = Span(place.file, Position(1, 1), Position(1, 1))
        fix = Fix("begin the file with it", (Edit(start, "priorlang 1\n\n"),))
        return [
            Finding("syntax-error", Severity.ERROR, "a prior file begins with `priorlang 1`", start, fix=fix)
        ]
    if version.text != LANGUAGE_VERSION:
        message = f"this is priorlang {version.text}, and this compiler reads priorlang {LANGUAGE_VERSION}"
        return [Finding("unsupported-version", Severity.ERROR, message, version.span)]
    return []


def _parse_in_pieces(source: SourceFile, comments: tuple[t.Comment, ...]) -> tuple[t.Document, list[Finding]]:
    version: t.NumberLiteral | None = None
    statements: list[t.Statement] = []
    broken: list[t.Broken] = []
    findings: list[Finding] = []
    for index, chunk in enumerate(_chunks(source.text)):
        if len(findings) >= MAXIMUM_ERRORS:
            findings.append(_given_up(source.name, chunk))
            broken.append(t.Broken("", None, findings[-1].span))
            break
        node, lost, found = _parse_chunk(source.name, chunk)
        findings.extend(found)
        broken.extend(lost)
        if chunk.keyword == "priorlang":
            if index == 0:
                version = node
            elif isinstance(node, t.NumberLiteral):
                message = "`priorlang 1` stands once, at the top of the file"
                findings.append(Finding("syntax-error", Severity.ERROR, message, node.span))
        elif node is not None:
            statements.append(node)
    span = Span(source.name, Position(1, 1), _end(source.text))
    if not any(item.keyword == "priorlang" for item in broken):
        findings.extend(version_findings(version, span))
    if not statements:
        # Nothing could be read, so nothing is missing: what is wrong has been said.
        broken.append(t.Broken("", None, span))
    if version is None and len(broken) > max(2, len(statements)) and _is_something_else(source.text):
        findings = [_no_prior(min(finding.span for finding in findings))]
    document = t.Document(version, tuple(statements), span, tuple(broken), comments)
    return document, sorted(findings, key=lambda finding: finding.span)


def _chunks(text: str) -> Iterator[Chunk]:
    """The statements of a text; one that cannot be read is cut again, at misspelt keywords."""
    for chunk in statements_of(text):
        pieces = pieces_of(chunk)
        if len(pieces) == 1 or too_deep(chunk.text) is not None or _is_read(chunk.text):
            yield chunk
        else:
            yield from pieces


def _is_read(text: str) -> bool:
    try:
        parse_text(text, "fragment", Origin(""))
    except MisreadError:
        return False
    return True


def _parse_chunk(file: str, chunk: Chunk) -> tuple[Any, list[t.Broken], list[Finding]]:
    """Read one statement; where a misspelt one follows a whole one, keep the whole one."""
    origin = Origin(file, chunk.line, chunk.column)
    deep = too_deep(chunk.text)
    if deep is not None:
        span = origin.span(*line_column(chunk.text, deep), *line_column(chunk.text, deep + 1))
        message = f"braces are nested deeper than {MAXIMUM_DEPTH} levels"
        finding = Finding("syntax-error", Severity.ERROR, message, span)
        return None, [_broken_statement(chunk.keyword, chunk.text, span)], [finding]
    try:
        return parse_text(chunk.text, "fragment", origin), [], []
    except MisreadError as error:
        findings = syntax_findings(error, chunk.text, "fragment", origin)
        place = text_place(error, chunk.text)
    head, stray = chunk.text[:place], chunk.text[place:]
    lost = _broken_statement(chunk.keyword, chunk.text, findings[0].span)
    if head.strip():
        try:
            node = parse_text(head, "fragment", origin)
        except MisreadError:
            return None, [lost], findings
        word = stray.split(maxsplit=1)[0] if stray.strip() else ""
        meant = closest(word, STATEMENT_KEYWORDS) if word else None
        if meant is None:
            return None, [lost], findings
        return node, [_broken_statement(meant, stray, findings[0].span)], findings
    return None, [lost], findings


def _refused(source: SourceFile) -> tuple[t.Document, list[Finding]]:
    """A file that is too long to be read at all."""
    span = whole_file(source.name)
    message = f"the file has more than {MAXIMUM_WORDS:,} words; a prior is a small program"
    document = t.Document(None, (), span, (t.Broken("", None, span),))
    return document, [Finding("too-large", Severity.ERROR, message, span)]


def _is_something_else(text: str) -> bool:
    """Whether a text begins as no prior does, not even one with a misspelt first word."""
    first = next(statements_of(text))
    words = first.text.split(maxsplit=1)
    return not first.keyword and closest(words[0], (*STATEMENT_KEYWORDS, "priorlang")) is None


def _no_prior(place: Span) -> Finding:
    """Instead of an error for every line of something else."""
    message = "this is no prior file: it does not begin with `priorlang 1`, and most of it cannot be read"
    return Finding("syntax-error", Severity.ERROR, message, place)


def _given_up(file: str, chunk: Chunk) -> Finding:
    place = Position(chunk.line, chunk.column)
    message = f"{MAXIMUM_ERRORS} statements could not be read; what follows was not looked at"
    return Finding("syntax-error", Severity.ERROR, message, Span(file, place, place))


def _broken_statement(keyword: str, text: str, span: Span) -> t.Broken:
    return t.Broken(keyword, declared_name(keyword, text), span)


def _with_comments(document: t.Document, comments: tuple[t.Comment, ...]) -> t.Document:
    return t.Document(document.version, document.statements, document.span, document.broken, comments)


def _end(text: str) -> Position:
    return Position(text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1)
