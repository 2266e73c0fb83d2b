"""Which comment belongs to which part of a file, so that printers can keep it there.

A comment after a part on its line belongs to that part. One on a line of its own belongs to the part
that follows; but one inside of a statement never leaves it, and one that is indented deeper than what follows
belongs to the statement above. Parts are statements and the pieces that printers may put on lines of their own:
clauses, members, settings, points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from priorlang.diagnostics.span import Position, Span
from priorlang.syntax import tree as t
from priorlang.syntax.canonical import canonical, splits_of


@dataclass
class CommentMap:
    """Comments by the span of the part they belong to; after a part stands one at most.

    Those of `tail` stand in a statement behind its last piece, on lines of their own.
    """

    before: dict[Span, list[str]] = field(default_factory=dict)
    after: dict[Span, list[str]] = field(default_factory=dict)
    tail: dict[Span, list[str]] = field(default_factory=dict)
    end: list[str] = field(default_factory=list)

    def within(self, statement: t.Statement) -> bool:
        """Whether a comment belongs to a piece of a statement, not to the statement as a whole."""
        if statement.span in self.tail:
            return True
        pieces = (span for span in pieces_of(statement) if span != statement.span)
        return any(span in self.before or span in self.after for span in pieces)


def map_comments(document: t.Document) -> CommentMap:
    """Give every comment of a document to a part."""
    mapped = CommentMap()
    # A flattened document holds statements of other files, whose places mean nothing here.
    parts = [part for part in _parts(document) if part.file == document.span.file]
    # Of parts that begin together, the outermost takes what stands before; of those that end together,
    # the outermost takes what stands after, unless the statement goes on.
    outermost: dict[Position, Span] = {}
    for part in parts:
        known = outermost.get(part.start)
        outermost[part.start] = part if known is None or part.end > known.end else known
    first = sorted(outermost)
    ends = sorted(parts, key=lambda span: (span.end, _reversed(span)))
    end_places = [span.end for span in ends]
    wholes = _Wholes(document)
    for comment in document.comments:
        place = comment.span.start
        whole = wholes.around(place)
        if whole is not None:
            _map_inside(mapped, comment, whole, wholes)
            continue
        index = bisect_right(end_places, place) - 1
        if index >= 0 and ends[index].end.line == place.line:
            mapped.after.setdefault(ends[index], []).append(comment.text)
            continue
        above = wholes.above(place) if comment.deeper else None
        following = bisect_left(first, place)
        if above is not None:
            mapped.tail.setdefault(above, []).append(comment.text)
        elif following == len(first):
            mapped.end.append(comment.text)
        else:
            mapped.before.setdefault(outermost[first[following]], []).append(comment.text)
    _hoist(document, mapped)
    return mapped


class _Wholes:
    """The statements of a document by place."""

    def __init__(self, document: t.Document) -> None:
        self.statements = sorted(
            (statement for statement in document.statements if statement.span.file == document.span.file),
            key=lambda statement: statement.span,
        )
        self.starts = [statement.span.start for statement in self.statements]
        self._pieces: dict[Span, _Pieces] = {}

    def around(self, place: Position) -> Span | None:
        """The statement that a place is inside of."""
        above = self.above(place)
        return above if above is not None and place < above.end else None

    def above(self, place: Position) -> Span | None:
        """The last statement that begins before a place."""
        index = bisect_left(self.starts, place) - 1
        return self.statements[index].span if index >= 0 else None

    def pieces(self, whole: Span) -> _Pieces:
        """The pieces of a statement."""
        if whole not in self._pieces:
            statement = self.statements[bisect_left(self.starts, whole.start)]
            self._pieces[whole] = _Pieces(statement)
        return self._pieces[whole]


class _Pieces:
    """The pieces of one statement, by place: they hardly ever overlap."""

    def __init__(self, statement: t.Statement) -> None:
        self.by_start = sorted(pieces_of(statement))
        self.by_end = sorted(self.by_start, key=lambda span: span.end)
        self.starts = [span.start for span in self.by_start]
        self.ends = [span.end for span in self.by_end]

    def around(self, place: Position) -> Span | None:
        """The last piece that begins before a place and ends behind it."""
        index = bisect_left(self.starts, place) - 1
        return next(
            (span for span in self.by_start[max(index - 1, 0) : index + 1][::-1] if place < span.end), None
        )

    def ended(self, place: Position) -> Span | None:
        """The piece that ends before a place on its line."""
        index = bisect_right(self.ends, place) - 1
        return self.by_end[index] if index >= 0 and self.ends[index].line == place.line else None

    def following(self, place: Position) -> Span | None:
        """The first piece that begins behind a place."""
        index = bisect_right(self.starts, place)
        return self.by_start[index] if index < len(self.starts) else None


def _map_inside(mapped: CommentMap, comment: t.Comment, whole: Span, wholes: _Wholes) -> None:
    """Give a comment inside of a statement to a piece of it, or to its end."""
    place, pieces = comment.span.start, wholes.pieces(whole)
    near = [piece for piece in (pieces.around(place), pieces.ended(place)) if piece is not None]
    beside = max(near, default=None if pieces.starts else whole)
    following = pieces.following(place)
    if beside is not None:
        mapped.after.setdefault(beside, []).append(comment.text)
    elif following is not None:
        mapped.before.setdefault(following, []).append(comment.text)
    else:
        mapped.tail.setdefault(whole, []).append(comment.text)


def _hoist(document: t.Document, mapped: CommentMap) -> None:
    """Give comments at the edge of a statement to the statement, where a form has no place between.

    What stands after the last piece stands after the whole. What stands before `overrides`, or before the
    first piece of a statement that YAML begins with that piece, stands before the whole.
    """
    for empty in document.statements:
        # Between empty braces there is no line of its own for what would stand below the last piece.
        if isinstance(empty, t.Model | t.Attribute | t.Schedule) and not any(pieces_of(empty)):
            mapped.after.setdefault(empty.span, []).extend(mapped.tail.pop(empty.span, []))
    mapped.after = {span: comments for span, comments in mapped.after.items() if comments}
    models = [statement for statement in document.statements if isinstance(statement, t.Model)]
    for other in models[1:]:
        for comments in (mapped.before, mapped.after, mapped.tail):
            _move(comments, other.span, mapped.before, models[0].span)
    for shaping in document.statements:
        splits = splits_of(shaping.effects) if isinstance(shaping, t.Rule | t.Default) else []
        for split in splits[1:]:
            for comments in (mapped.before, mapped.after):
                _move(comments, split.span, mapped.before, splits[0].span)
    hoisted = [(each, list(pieces_of(each))) for each in canonical(document).statements]
    hoisted = [(statement, pieces) for statement, pieces in hoisted if pieces]
    for statement, pieces in hoisted:
        if pieces[-1] != statement.span and pieces[-1] in mapped.after:
            mapped.after[statement.span] = mapped.after.pop(pieces[-1]) + mapped.after.get(statement.span, [])
    for span, several in mapped.after.items():
        if len(several) > 1:
            # A line has room for one comment; the others stand above, where they are found again.
            mapped.before.setdefault(span, []).extend(several[:-1])
            del several[:-1]
    for statement, pieces in hoisted:
        if isinstance(statement, t.Model | t.Default | t.Schedule):
            _move(mapped.before, pieces[0], mapped.before, statement.span)
        if isinstance(statement, t.Rule) and statement.overrides is not None:
            _move(mapped.before, statement.overrides.span, mapped.before, statement.span)


def _move(source: dict[Span, list[str]], old: Span, target: dict[Span, list[str]], new: Span) -> None:
    if old != new and old in source:
        target.setdefault(new, []).extend(source.pop(old))


def pieces_of(statement: t.Statement) -> Iterator[Span]:
    """The spans of the pieces of a statement that may stand on lines of their own."""
    if isinstance(statement, t.Model):
        yield from (setting.span for setting in statement.settings)
    elif isinstance(statement, t.Attribute):
        yield from (member.span for member in statement.members)
    elif isinstance(statement, t.Default):
        yield from (effect.span for effect in statement.effects)
    elif isinstance(statement, t.Rule):
        if statement.overrides is not None:
            yield statement.overrides.span
        if statement.selector is not None:
            yield statement.selector.span
        yield from (effect.span for effect in statement.effects)
    elif isinstance(statement, t.Schedule):
        yield from (point.span for point in statement.points)


def _parts(document: t.Document) -> Iterator[Span]:
    if document.version is not None:
        yield document.version.span
    for statement in document.statements:
        yield statement.span
        yield from pieces_of(statement)


def _reversed(span: Span) -> tuple[int, int]:
    """Sorts the outermost of the parts that end together last."""
    return (-span.start.line, -span.start.column)
