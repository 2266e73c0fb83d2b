"""Loads the modules of an example's folder, which are scripts beside each other and no package."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def example_modules(example: str, *names: str) -> Iterator[list[ModuleType]]:
    """The named modules of examples/EXAMPLE; none of them stays imported."""
    folder = EXAMPLES / example
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield [import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
                del sys.modules[name]


def readme_commands(example: str) -> list[list[str]]:
    """The arguments of every run of the example's script that its README prints."""
    start = f"python examples/{example}/run.py"
    lines = (EXAMPLES / example / "README.md").read_text(encoding="utf-8").splitlines()
    return [
        shlex.split(line.strip()[len(start) :], comments=True)
        for line in lines
        if line.strip().startswith(start)
    ]
