"""Strict YAML: a file as scalars, lists and mappings with places, and nothing that YAML hides.

Every scalar stays text. Duplicate keys, tags and aliases that grow without bound are findings. Prior
files and training files are both read through here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import Edit, Finding, Fix, Related, Severity
from priorlang.diagnostics.span import Position, Span, whole_file
from priorlang.records import Record
from priorlang.syntax.builder import Origin
from priorlang.syntax.recovery import MAXIMUM_DEPTH
from priorlang.syntax.source import LineTable, SourceFile

if TYPE_CHECKING:
    import yaml

MAXIMUM_NODES = 100_000


class YamlScalar(Record, uncompared=("span", "origin")):
    """A scalar as text; `quoted` where it was written in quotes or as a block."""

    text: str
    quoted: bool
    span: Span
    origin: Origin


class YamlList(Record, uncompared=("span",)):
    """A sequence."""

    items: tuple[YamlNode, ...]
    span: Span


class YamlMapping(Record, uncompared=("span",)):
    """A mapping whose keys are scalars; no key stands twice."""

    items: tuple[tuple[YamlScalar, YamlNode], ...]
    span: Span

    def get(self, key: str) -> YamlNode | None:
        """The value of a key, or None."""
        return next((value for name, value in self.items if name.text == key), None)


YamlNode = YamlScalar | YamlList | YamlMapping


def read_yaml(source: SourceFile) -> tuple[YamlNode | None, list[Finding]]:
    """Read the one YAML document of a file.

    Returns:
        Its root, or None where the file is empty or cannot be read, and the findings.
    """
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    lines = LineTable(source.text)
    try:
        _check_depth(yaml.parse(source.text, Loader=loader), lines)
        root = yaml.compose(source.text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        place = _place(lines, error.problem_mark or error.context_mark)
        problem = " ".join(part for part in (error.context, error.problem) if part)
        return None, [_error("syntax-error", f"this is not YAML: {problem}", Span(source.name, place, place))]
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        return None, [_error("syntax-error", f"this is not YAML: {reason}", whole_file(source.name))]
    except _TooDeepError as error:
        place = error.place
        message = f"lists and mappings are nested deeper than {MAXIMUM_DEPTH} levels"
        return None, [_error("syntax-error", message, Span(source.name, place, place))]
    except _TooManyError:
        return None, [_too_many(source)]
    if root is None:
        return None, []
    reader = _Reader(source)
    try:
        return reader.node(root, ()), reader.findings
    except _TooManyError:
        return None, [_too_many(source)]


class _TooDeepError(Exception):
    def __init__(self, place: Position) -> None:
        self.place = place
        super().__init__()


class _TooManyError(Exception):
    pass


def _too_many(source: SourceFile) -> Finding:
    message = f"with its aliases expanded, this file has more than {MAXIMUM_NODES:,} nodes"
    return _error("syntax-error", message, whole_file(source.name))


def _place(lines: LineTable, mark: object) -> Position:
    """The place of a mark of PyYAML, by its offset: YAML breaks lines where no editor does."""
    return lines.at(getattr(mark, "index", 0))


def _check_depth(events: Iterator[yaml.Event], lines: LineTable) -> None:
    """Bound the nesting, and the size, before anything that keeps it all reads the file."""
    import yaml

    depth = 0
    for count, event in enumerate(events):
        if count > 2 * MAXIMUM_NODES:
            raise _TooManyError
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAXIMUM_DEPTH:
                raise _TooDeepError(_place(lines, event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """PyYAML's node graph → our nodes. Counts what it visits, since aliases share nodes."""

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.lines = LineTable(source.text)
        self.findings: list[Finding] = []
        self.visited = 0

    def node(self, node: yaml.Node, above: tuple[int, ...]) -> YamlNode:
        import yaml

        self.visited += 1
        if self.visited > MAXIMUM_NODES:
            raise _TooManyError
        span = self.span(node)
        if id(node) in above:
            self.findings.append(_error("syntax-error", "an alias that contains itself", span))
            return YamlList((), span)
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rsplit(":", 1)[1] not in {
            "str",
            "seq",
            "map",
        }:
            self.findings.append(_error("syntax-error", f"tags have no place here: {node.tag}", span))
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, inside, span)
        if isinstance(node, yaml.SequenceNode):
            listed = tuple(self.node(child, inside) for child in node.value)
            return YamlList(listed, _fitted(span, listed))
        assert isinstance(node, yaml.ScalarNode)
        quoted = node.style in {"'", '"', "|", ">"}
        return YamlScalar(node.value, quoted, span, self.origin(node, span))

    def mapping(self, node: yaml.MappingNode, above: tuple[int, ...], span: Span) -> YamlMapping:
        items: dict[str, tuple[YamlScalar, YamlNode]] = {}
        for key_node, value_node in node.value:
            key = self.node(key_node, above)
            value = self.node(value_node, above)
            if not isinstance(key, YamlScalar):
                self.findings.append(
                    _error("syntax-error", "a key is a word, not a list or a mapping", key.span)
                )
            elif not key.text and not key.quoted:
                self.findings.append(_error("syntax-error", "here is a value without a key", key.span))
            elif key.text in items:
                first = items[key.text][0].span
                related = (Related("first written here", first),)
                message = f"the key `{key.text}` stands twice"
                self.findings.append(Finding("duplicate-key", Severity.ERROR, message, key.span, related))
            else:
                items[key.text] = (key, value)
        return YamlMapping(tuple(items.values()), _fitted(span, [value for _, value in items.values()]))

    def span(self, node: yaml.Node) -> Span:
        return Span(self.source.name, _place(self.lines, node.start_mark), _place(self.lines, node.end_mark))

    def origin(self, node: yaml.ScalarNode, span: Span) -> Origin:
        """Where the text of a scalar lies; one with escapes or several lines maps to its whole span."""
        if span.start.line == span.end.line:
            written = self.source.text[node.start_mark.index : node.end_mark.index]
            if written == node.value:
                return Origin(span.file, span.start.line, span.start.column)
            if written[1:-1] == node.value:
                return Origin(span.file, span.start.line, span.start.column + 1)
        return Origin(span.file, fixed=span)


def _fitted(span: Span, inner: Sequence[YamlNode]) -> Span:
    """The span of a block up to the end of its last item: PyYAML's own ends at the next token."""
    end = max((node.span.end for node in inner if node.span.start >= span.start), default=span.end)
    return Span(span.file, span.start, min(span.end, end)) if span.end.line > end.line else span


def replacing(span: Span, text: str) -> Fix:
    """The fix that writes `text` in place of `span`."""
    return Fix(f"write `{text}`", (Edit(span, text),))


def _error(name: str, message: str, span: Span) -> Finding:
    return Finding(name, Severity.ERROR, message, span)
