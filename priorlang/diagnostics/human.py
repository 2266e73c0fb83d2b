"""Findings for people: the message, the place, the source line with an underline, and the fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from priorlang.diagnostics.finding import Finding, Severity
from priorlang.diagnostics.span import Span
from priorlang.records import Record

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal might obey."""
_COLOUR = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFO: "36"}


class Style(Record):
    """Colour on a terminal, plain text elsewhere."""

    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """`text` in a colour of the terminal."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def render(findings: Iterable[Finding], sources: Mapping[str, str], style: Style | None = None) -> str:
    """Findings as text, a blank line between them.

    Args:
        findings: what to show, in this order.
        sources: the text of each file by name; a finding in another file is shown without its line.
        style: plain text by default.
    """
    style = style or Style()
    lines = {file: text.split("\n") for file, text in sources.items() if text}
    return "\n\n".join("\n".join(_one(finding, lines, style)) for finding in findings)


def counted(number: int, what: str, plural: str = "s") -> str:
    """`1 rule`, `2 rules`; `plural` is what the word ends in then."""
    return f"{number:,} {what}{'' if number == 1 else plural}"


def summary(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 warning`; empty where there is nothing."""
    counts = dict.fromkeys(Severity, 0)
    for finding in findings:
        counts[finding.severity] += 1
    return ", ".join(counted(count, severity.value) for severity, count in counts.items() if count)


def _one(finding: Finding, sources: Mapping[str, list[str]], style: Style) -> list[str]:
    colour = _COLOUR[finding.severity]
    head = style.paint(f"{finding.severity}[{finding.name}]", f"1;{colour}")
    gutter = len(str(max(span.start.line for span in [finding.span, *(r.span for r in finding.related)])))
    lines = [f"{head}: {style.paint(finding.message, '1')}"]
    lines += _excerpt(finding.span, sources, gutter, "^", colour, "", style)
    for related in finding.related:
        lines += _excerpt(related.span, sources, gutter, "-", "34", related.message, style)
    if finding.witness:
        cell = " ".join(f"{key}={value}" for key, value in finding.witness.items())
        lines.append(f"{' ' * gutter} = at the cell: {cell}")
    if finding.fix is not None:
        # `--fix` applies a fix; help is for the author to judge.
        word = style.paint("fix", "32") if finding.fix.is_safe else style.paint("help", "36")
        lines.append(f"{' ' * gutter} = {word}: {finding.fix.message}")
    return lines


def _excerpt(
    span: Span,
    sources: Mapping[str, list[str]],
    gutter: int,
    mark: str,
    colour: str,
    message: str,
    style: Style,
) -> list[str]:
    """The source line of a span, underlined; a span over several lines is underlined on its first."""
    pad = " " * gutter
    arrow = style.paint("-->", "34")
    # A place in an option of the command line is one of its text; lines mean nothing there.
    lines = [f"{pad}{arrow} {span.file if span.file.startswith('--') else span}"]
    source = sources.get(span.file, [])
    if not 0 < span.start.line <= len(source):
        return [*lines, f"{pad} = {message}"] if message else lines
    line = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", source[span.start.line - 1])
    shown = line.expandtabs(4)
    start = len(line[: span.start.column - 1].expandtabs(4))
    end_column = span.end.column if span.end.line == span.start.line else len(line.rstrip()) + 1
    end = len(line[: end_column - 1].expandtabs(4))
    if len(shown) > 160:
        cut = max(0, start - 60)
        shown, start, end = shown[cut : cut + 160], start - cut, min(end - cut, 160)
    underline = style.paint(mark * max(1, end - start), colour)
    number = style.paint(f"{span.start.line:>{gutter}}", "34")
    bar = style.paint("|", "34")
    return [
        *lines,
        f"{pad} {bar}",
        f"{number} {bar} {shown.rstrip()}",
        f"{pad} {bar} {' ' * start}{underline}{' ' + message if message else ''}",
    ]
