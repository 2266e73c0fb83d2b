"""What two plans differ in."""

from __future__ import annotations

from priorlang.training.plan import TrainingPlan


def differences(known: TrainingPlan, given: TrainingPlan) -> list[str]:
    """The keys whose values differ, as dotted paths; where the plans write to is no difference."""
    changed = [
        key
        for key in type(known).model_fields
        if key not in ("output_dir", "stages") and getattr(known, key) != getattr(given, key)
    ]
    if [stage.name for stage in known.stages] != [stage.name for stage in given.stages]:
        return [*changed, "stages"]
    for before, after in zip(known.stages, given.stages, strict=True):
        changed += [
            f"stages.{before.name}.{key}"
            for key in type(before).model_fields
            if getattr(before, key) != getattr(after, key)
        ]
    return changed
