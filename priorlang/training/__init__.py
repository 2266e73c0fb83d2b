"""The training file: YAML in, `TrainingPlan` out.

    text ─yaml_tree→ SourceTree ─overrides→ SourceTree ─load→ TrainingPlan ─render→ text

`plan` holds the types, `yaml_tree` reads YAML with the place of every value, `overrides` applies
`--set`, `complaints` turns validation errors into findings, `checks` looks across values and at the
file system, and `load` runs them in that order. Nothing here imports torch.
"""

from __future__ import annotations

from priorlang.training.load import LoadedPlan, is_training_file, load_plan, read_plan
from priorlang.training.plan import DataSource, StagePlan, TrainingPlan
from priorlang.training.render import render_plan

__all__ = [
    "DataSource",
    "LoadedPlan",
    "StagePlan",
    "TrainingPlan",
    "is_training_file",
    "load_plan",
    "read_plan",
    "render_plan",
]
