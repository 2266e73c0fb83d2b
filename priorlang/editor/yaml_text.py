"""YAML that is being written: made readable, so that what stands around a half-written line still counts."""

from __future__ import annotations

from functools import lru_cache

from priorlang.syntax.source import SourceFile
from priorlang.syntax.yaml_nodes import YamlNode, read_yaml

MAXIMUM_MENDS = 20
"""Lines left out before a file counts as no YAML at all."""


@lru_cache(maxsize=32)
def mended(source: SourceFile) -> str:
    """The text with the lines left blank that keep YAML from reading it; every other place stays."""
    lines = source.text.split("\n")
    for _ in range(MAXIMUM_MENDS):
        text = "\n".join(lines)
        root, findings = read_yaml(SourceFile(source.name, text))
        if root is not None or not findings:
            return text
        place = min(_flow_begin(text) or findings[0].span.start.line, len(lines)) - 1
        while place > 0 and not lines[place].strip():
            place -= 1
        if not lines[place].strip():
            return text
        lines[place] = ""
    return source.text


def node_of(text: str) -> YamlNode | None:
    """The root of a YAML text, None where it is no YAML."""
    return read_yaml(SourceFile("", text))[0]


def _flow_begin(text: str) -> int | None:
    """The line of the bracket that is never closed, which YAML notices only far behind it."""
    import yaml

    try:
        for _ in yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)):
            pass
    except yaml.MarkedYAMLError as error:
        if error.context_mark is not None and "flow" in (error.context or ""):
            return int(error.context_mark.line) + 1
    except yaml.YAMLError:
        return None
    return None
