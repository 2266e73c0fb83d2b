"""Telling a training file from a prior file, at no cost: `validate` takes both."""

from __future__ import annotations

import re

from priorlang.syntax.source import SourceFile

_TELLING_KEYS = {"model_name_or_path", "output_dir", "stages", "data", "upcycle", "learning_rate"}


def is_training_file(source: SourceFile) -> bool:
    """Whether a YAML file looks like a training file, not a prior: by its top-level keys, even in broken YAML."""
    keys = set(re.findall(r"^([A-Za-z_]+)[ \t]*:", source.text, re.MULTILINE))
    return "priorlang" not in keys and bool(keys & _TELLING_KEYS)
