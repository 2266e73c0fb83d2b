"""Texts with a cursor in them, `¦`, and the workspace they are open in."""

from __future__ import annotations

from priorlang.diagnostics.span import Position
from priorlang.editor.places import Lines
from priorlang.editor.workspace import Workspace

FOLDER = "/folder-that-is-not-there"
HEAD = """priorlang 1
model { layers = 24  experts = 8  top_k = 2 }
attribute modality { vision, language }
attribute task { caption, reading { ocr, "with space" }, unknown }
experts visual = 0..3
layers late = 12..
param boost = 0.5
default base 0.75 weight 0.01
rule vision: for modality vision prefer visual by $boost
"""
YAML_HEAD = """priorlang: 1
model: {layers: 24, experts: 8, top_k: 2}
attribute:
  modality: [vision, language]
  task: [caption, {reading: [ocr, with space]}, unknown]
experts: {visual: 0..3}
layers: {late: 12..}
param: {boost: 0.5}
default: {base: 0.75, weight: 0.01}
rule:
  vision:
    for: {modality: vision}
    prefer: {visual: $boost}
"""


def opened(text: str, name: str = "main.prior", **others: str) -> tuple[Workspace, str, Position]:
    """A workspace with this text and others open, the path of the text, and the place of its cursor."""
    before, mark, after = text.partition("¦")
    assert mark, "a text without a cursor"
    workspace = Workspace()
    for other, content in others.items():
        workspace.put(f"{FOLDER}/{other.replace('_', '.')}", content)
    path = f"{FOLDER}/{name}"
    workspace.put(path, before + after)
    return workspace, path, Lines(before).position(len(before))
