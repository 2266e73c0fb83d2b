"""Text ⇄ tree.

source.py reads bytes; dsl.py and yaml_form.py turn the text of either form into the one tree of
tree.py, through the one grammar of grammar.lark; print_dsl.py and print_yaml.py turn it back. Nothing
in here knows what a name means.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from priorlang.diagnostics.finding import Finding
from priorlang.syntax.characters import without_unwanted
from priorlang.syntax.source import SourceFile, read_source
from priorlang.syntax.tree import Document


def parse(source: SourceFile) -> tuple[Document, list[Finding]]:
    """The tree of a file in either form, by the ending of its name, and what is wrong with it."""
    readable, unwanted = without_unwanted(source)
    with _collection_paused():
        if source.is_yaml:
            from priorlang.syntax.yaml_form import parse_yaml

            document, findings = parse_yaml(readable)
        else:
            from priorlang.syntax.dsl import parse_dsl

            document, findings = parse_dsl(readable)
    return document, unwanted + findings


@contextmanager
def _collection_paused() -> Iterator[None]:
    """A tree has no cycles, and the collector would walk the growing tree again and again: half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


__all__ = ["Document", "SourceFile", "parse", "read_source"]
