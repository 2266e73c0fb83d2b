"""The files that stages name and that are not there: each once, with the stages that need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath

from priorlang.diagnostics.finding import Finding, Fix, Severity
from priorlang.diagnostics.suggest import listing
from priorlang.training.plan import StagePlan, TrainingPlan
from priorlang.training.yaml_tree import Path, SourceTree

Named = tuple[FilePath, str, Path]
"""A file, `file` or `folder`, and the keys below a stage that name it."""


def check_files(
    plan: TrainingPlan, tree: SourceTree, stage_path: Callable[..., Path], *, allow_absent: bool
) -> Iterator[Finding]:
    """`missing-file` for each file or folder that a stage needs, where it is named first.

    Args:
        plan: what was read.
        tree: where it was read from.
        stage_path: `stage_path(index, *keys)` says where a stage's value stands.
        allow_absent: data may be missing where the file says what it holds.
    """
    first: dict[tuple[FilePath, str], Path] = {}
    stages: dict[tuple[FilePath, str], list[str]] = {}
    for index, stage in enumerate(plan.stages):
        for file, kind, keys in _named(stage, allow_absent):
            if file.is_file() if kind == "file" else file.is_dir():
                continue
            first.setdefault((file, kind), stage_path(index, *keys))
            needed = stages.setdefault((file, kind), [])
            if stage.name not in needed:
                needed.append(stage.name)
    for (file, kind), path in first.items():
        needed = stages[file, kind] if len(plan.stages) > 1 else []
        yield missing_file(file, tree, path, kind, needed)


def missing_file(
    file: FilePath, tree: SourceTree, path: Path, kind: str = "file", stages: Sequence[str] = ()
) -> Finding:
    """A file that is not there.

    Args:
        file: it.
        tree: the training file.
        path: where that names it.
        kind: `file` or `folder`.
        stages: the names of those that need it, where that is worth saying.
    """
    parent = file.parent
    while not parent.exists():
        parent = parent.parent
    fix = Fix(f"paths start from the folder of the training file; `{parent}` is there")
    needs = f", which {listing(stages)} {'needs' if len(stages) == 1 else 'need'}" if stages else ""
    message = f"there is no {kind} `{file}`{needs}"
    return Finding("missing-file", Severity.ERROR, message, tree.value_span(path), fix=fix)


def _named(stage: StagePlan, allow_absent: bool) -> Iterator[Named]:
    if stage.prior is not None:
        yield stage.prior, "file", ("prior",)
    for key, sources in (("data", stage.data), ("eval_data", stage.eval_data)):
        for position, source in enumerate(sources):
            if allow_absent and source.expected is not None:
                continue
            yield source.path, "file", (key, position, "path")
            if source.images is not None:
                yield source.images, "folder", (key, position, "images")
