"""YAML as plain values, with the place of every key and value.

Structure comes from PyYAML's node graph, whose marks give the spans. Scalars follow YAML 1.2's core
schema, so `1e-3` is a number and `no` is a word. Duplicate keys, tags and runaway anchors are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from priorlang.diagnostics.finding import Finding, PriorError, Related, Severity
from priorlang.diagnostics.span import Position, Span, whole_file

Path = tuple[str | int, ...]
"""The way from the root to a value: keys and list positions."""

NODE_LIMIT = 100_000
"""Nodes of one file, counted with aliases expanded."""

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Place:
    """Where a value stands, and the key before it (None in a list and at the root)."""

    value: Span
    key: Span | None = None


@dataclass(frozen=True)
class SourceTree:
    """One document: its plain values, and the place of each."""

    file: str
    root: Any
    places: Mapping[Path, Place] = field(repr=False)

    def value_span(self, path: Path) -> Span:
        """The span of a value, or of the nearest value around it."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places[path].value if path in self.places else whole_file(self.file)

    def key_span(self, path: Path) -> Span:
        """The span of the key of a value; of the value itself where it has none."""
        place = self.places.get(path)
        return place.key if place and place.key else self.value_span(path)


def read_tree(text: str, file: str) -> SourceTree:
    """Parse one YAML document.

    Raises:
        PriorError: the text is no YAML, holds several documents, a duplicate key or a tag, or expands
            beyond `NODE_LIMIT` nodes.
    """
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        raise PriorError([_syntax_finding(error, file)]) from None
    except yaml.YAMLError as error:
        raise PriorError([_finding("syntax-error", str(error).splitlines()[0], whole_file(file))]) from None
    except RecursionError:
        raise PriorError(
            [_finding("syntax-error", "the file is nested too deeply", whole_file(file))]
        ) from None
    walk = _Walk(file)
    root = walk.plain(node, ()) if node is not None else None
    if walk.findings:
        raise PriorError(walk.findings)
    return SourceTree(file, root, walk.places)


def read_value(text: str) -> Any:
    """The plain value of a piece of YAML on one line, as `3`, `true` or `[a, b]`.

    Raises:
        PriorError: as `read_tree`.
    """
    return read_tree(text, "--set").root


class _CoreLoader(yaml.SafeLoader):
    """PyYAML's composer with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own shape)


_CoreLoader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_CoreLoader.add_implicit_resolver(
    _TAG + "bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_CoreLoader.add_implicit_resolver(_TAG + "int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_CoreLoader.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


class _Walk:
    """One pass over a node graph: values, places and findings."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Place] = {}
        self.findings: list[Finding] = []
        self._open: set[int] = set()
        self._count = 0

    def plain(self, node: yaml.Node, path: Path, key: Span | None = None) -> Any:
        """The value of a node; its place is noted on the way."""
        span = self._span(node)
        self.places[path] = Place(span, key)
        self._count += 1
        if self._count > NODE_LIMIT or id(node) in self._open:
            message = (
                f"anchors expand to more than {NODE_LIMIT} values"
                if self._count > NODE_LIMIT
                else "an anchor holds itself"
            )
            raise PriorError([_finding("syntax-error", message, span)])
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.plain(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        seen: dict[str, Span] = {}
        for key_node, value_node in node.value:
            span = self._span(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.findings.append(_finding("syntax-error", "a key is a plain word", span))
                continue
            key = key_node.value
            if key in seen:
                first = Related("the first one", seen[key])
                self.findings.append(
                    _finding("duplicate-key", f"`{key}` is written twice in one mapping", span, (first,))
                )
                continue
            seen[key] = span
            values[key] = self.plain(value_node, (*path, key), span)
        return values

    def _scalar(self, node: yaml.Node) -> Any:
        """The value of a scalar, or of a node whose tag has no meaning here."""
        kind, text = node.tag.removeprefix(_TAG), node.value
        match kind:
            case "null":
                return None
            case "bool":
                return text.casefold() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text.casefold().replace(".inf", "inf").replace(".nan", "nan"))
            case "str":
                return text
        self.findings.append(
            _finding(
                "syntax-error", f"the tag `{node.tag}` has no meaning in a training file", self._span(node)
            )
        )
        return None

    def _span(self, node: yaml.Node) -> Span:
        return Span(self.file, _position(node.start_mark), _position(node.end_mark))


def _position(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _syntax_finding(error: yaml.MarkedYAMLError, file: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    span = Span(file, _position(mark), _position(mark)) if mark else whole_file(file)
    message = " ".join(part for part in (error.context, error.problem) if part)
    return _finding("syntax-error", f"this is no YAML: {message}", span)


def _finding(name: str, message: str, span: Span, related: tuple[Related, ...] = ()) -> Finding:
    return Finding(name, Severity.ERROR, message, span, related)
