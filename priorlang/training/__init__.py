"""The training file: YAML in, `TrainingPlan` out.

    text ─yaml_tree→ SourceTree ─overrides→ SourceTree ─load→ TrainingPlan ─render→ text

`plan` holds the types, `yaml_tree` reads YAML with the place of every value, `overrides` applies
`--set`, `complaints` turns validation errors into findings, `checks` looks across values and at the
file system, and `load` runs them in that order. Nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from priorlang.training.kind import is_grid_file, is_training_file

if TYPE_CHECKING:
    from priorlang.training.load import LoadedPlan, load_plan, read_plan
    from priorlang.training.plan import DataSource, StagePlan, TrainingPlan
    from priorlang.training.render import render_plan

_HOMES = {
    "LoadedPlan": "load",
    "load_plan": "load",
    "read_plan": "load",
    "DataSource": "plan",
    "StagePlan": "plan",
    "TrainingPlan": "plan",
    "render_plan": "render",
}
__all__ = [
    "DataSource",
    "LoadedPlan",
    "StagePlan",
    "TrainingPlan",
    "is_grid_file",
    "is_training_file",
    "load_plan",
    "read_plan",
    "render_plan",
]


def __getattr__(name: str) -> object:
    """Pydantic is loaded by those who read a training file, not by those who ask whether one is there."""
    if name not in _HOMES:
        raise AttributeError(f"module 'priorlang.training' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"priorlang.training.{_HOMES[name]}"), name)
    return value
