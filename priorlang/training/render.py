"""A plan back to YAML: what `--dry-run` prints and the run folder keeps."""

from __future__ import annotations

from typing import Any

import yaml

from priorlang.training.plan import StagePlan, TrainingPlan


def render_plan(plan: TrainingPlan) -> str:
    """The resolved training file. Reading it gives an equal plan, from any folder.

    What all stages share stands at the top, what differs with its stage.
    """
    stages = [_stage(stage) for stage in plan.stages]
    shared = {
        key: value
        for key, value in stages[0].items()
        if key != "name" and all(key in stage and stage[key] == value for stage in stages)
    }
    run = plan.model_dump(mode="json", exclude={"stages"}, exclude_none=True)
    own = [{key: value for key, value in stage.items() if key not in shared} for stage in stages]
    return yaml.dump(
        {**run, **shared, "stages": own}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )


def _stage(stage: StagePlan) -> dict[str, Any]:
    values = stage.model_dump(mode="json", exclude_none=True)
    for key in ("data", "eval_data"):
        values[key] = [_flat_source(source) for source in values[key]]
    return values


def _flat_source(source: dict[str, Any]) -> dict[str, Any]:
    attributes = source.pop("attributes")
    return {**source, **attributes}


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Every value is written out."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists are indented like mappings."""
        super().increase_indent(flow, False)
