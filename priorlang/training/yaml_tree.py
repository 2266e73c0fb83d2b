"""YAML as plain values, with the place of every key and value.

`syntax.yaml_nodes` reads the structure, as strictly as for a prior file. Plain scalars follow YAML 1.2's
core schema, so `1e-3` is a number and `no` is a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.span import Span, whole_file
from priorlang.syntax.source import SourceFile
from priorlang.syntax.yaml_nodes import YamlList, YamlMapping, YamlNode, YamlScalar, read_yaml

Path = tuple[str | int, ...]
"""The way from the root to a value: keys and list positions."""

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


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

    def existing(self, path: Path) -> Path:
        """A path without the steps that validation adds and the document does not have."""
        kept: Path = ()
        for step in path:
            if (*kept, step) in self.places:
                kept = (*kept, step)
        return kept


def read_tree(text: str, file: str) -> SourceTree:
    """Parse one YAML document.

    Raises:
        PriorError: the text is no YAML, holds several documents, a duplicate key or a tag, or is nested or
            expanded beyond the bounds of `syntax.yaml_nodes`.
    """
    node, findings = read_yaml(SourceFile(file, text))
    if findings:
        raise PriorError(findings)
    places: dict[Path, Place] = {}
    root = _plain(node, (), places) if node is not None else None
    return SourceTree(file, root, places)


def read_value(text: str) -> Any:
    """The plain value of a piece of YAML on one line, as `3`, `true` or `[a, b]`.

    Raises:
        PriorError: as `read_tree`.
    """
    return read_tree(text, "--set").root


def _plain(node: YamlNode, path: Path, places: dict[Path, Place], key: Span | None = None) -> Any:
    """The value of a node; its place is noted on the way."""
    places[path] = Place(node.span, key)
    if isinstance(node, YamlMapping):
        return {name.text: _plain(value, (*path, name.text), places, name.span) for name, value in node.items}
    if isinstance(node, YamlList):
        return [_plain(item, (*path, index), places) for index, item in enumerate(node.items)]
    return _scalar(node)


def _scalar(node: YamlScalar) -> Any:
    text = node.text
    if node.quoted:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.casefold() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text.casefold().replace(".inf", "inf").replace(".nan", "nan"))
    return text
