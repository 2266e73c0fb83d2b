"""Telling training files and grid files from prior files, at no cost: `validate` takes all."""

from __future__ import annotations

import re

from priorlang.syntax.source import SourceFile

_TELLING_KEYS = {"model_name_or_path", "output_dir", "stages", "data", "upcycle", "learning_rate"}


def is_training_file(source: SourceFile) -> bool:
    """Whether a YAML file looks like a training file, not a prior: by its top-level keys, even in broken YAML."""
    keys = _top_keys(source)
    return "priorlang" not in keys and bool(keys & _TELLING_KEYS) and not is_grid_file(source)


def is_grid_file(source: SourceFile) -> bool:
    """Whether a YAML file looks like a grid file: it varies a training file."""
    keys = _top_keys(source)
    return "vary" in keys or {"base", "output_dir"} <= keys


def _top_keys(source: SourceFile) -> set[str]:
    return set(re.findall(r"^([A-Za-z_]+)[ \t]*:", source.text, re.MULTILINE))
