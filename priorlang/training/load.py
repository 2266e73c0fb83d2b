"""Read a training file: every finding at once, or a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.training.checks import check_plan
from priorlang.training.complaints import findings_of, missing_key, unknown_key
from priorlang.training.overrides import parse_overrides, with_overrides
from priorlang.training.plan import RUN_KEYS, StagePlan, TrainingPlan
from priorlang.training.resolve import resolve_run, resolve_stage
from priorlang.training.yaml_tree import Path, SourceTree, read_tree


@dataclass(frozen=True)
class LoadedPlan:
    """A plan, and the document it came from, for findings that only show later."""

    plan: TrainingPlan
    tree: SourceTree

    def stage_path(self, index: int, *keys: str | int) -> Path:
        """Where stage `index` gets the value at `keys` from: its own entry, or the defaults above."""
        return _stage_locator(self.tree, index)(keys)

    def span(self, index: int, *keys: str | int) -> Span:
        """The place of that value, or of the nearest around it: in the file, or in a `--set`."""
        return self.tree.value_span(self.stage_path(index, *keys))


def load_plan(
    path: str | PathLike[str], set: Mapping[str, Any] | Iterable[str] = (), *, allow_absent: bool = False
) -> TrainingPlan:
    """The plan of a training file; see `read_plan`."""
    return read_plan(path, set, allow_absent=allow_absent).plan


def read_plan(
    path: str | PathLike[str], set: Mapping[str, Any] | Iterable[str] = (), *, allow_absent: bool = False
) -> LoadedPlan:
    """Read, override, validate and check a training file.

    Args:
        path: the YAML file; paths in it are relative to its folder.
        set: dotted paths to values, as `{"stages.finetune.max_steps": 3}` or `["stages.finetune.max_steps=3"]`.
        allow_absent: for a dry run: data with `expected`, and the parts of a `model` with `configs`, may be missing.

    Raises:
        PriorError: anything is wrong with the file; carries all findings.
    """
    file = FilePath(path)
    tree = with_overrides(read_tree(text_of(file), str(path)), parse_overrides(set))
    findings: list[Finding] = []
    plan = _validated(tree, file.resolve().parent, findings)
    if plan is not None and not findings:
        loaded = LoadedPlan(plan, tree)
        findings.extend(check_plan(plan, tree, loaded.stage_path, allow_absent=allow_absent))
        if not findings:
            return loaded
    raise PriorError(dict.fromkeys(findings))


def text_of(file: FilePath, kind: str = "training file") -> str:
    """The text of a file.

    Raises:
        PriorError: it cannot be read.
    """
    span = whole_file(str(file))
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        reason = f"there is no {kind} {file}"
        raise PriorError([Finding("missing-file", Severity.ERROR, reason, span)]) from None
    except OSError as error:
        reason = f"cannot read this {kind}: {error.strerror or error}"
        raise PriorError([Finding("unreadable-file", Severity.ERROR, reason, span)]) from None
    except UnicodeDecodeError as error:
        reason = f"the file is no UTF-8 text (byte {error.start + 1}); save it as UTF-8"
        raise PriorError([Finding("unreadable-file", Severity.ERROR, reason, span)]) from None


def _validated(tree: SourceTree, folder: FilePath, findings: list[Finding]) -> TrainingPlan | None:
    """The plan with paths resolved, or None with findings added."""
    top = tree.root
    if not isinstance(top, dict):
        state = "is empty" if top is None else "holds no mapping"
        message = (
            f"the file {state}; a training file has `model_name_or_path` or `model`, `data` and `output_dir`"
        )
        findings.append(Finding("missing-key", Severity.ERROR, message, whole_file(tree.file)))
        return None
    shared = {
        key: value for key, value in top.items() if key not in RUN_KEYS and key not in ("stages", "name")
    }
    if "name" in top:
        findings.append(unknown_key(tree, ("name",)))
    stages = list(_stages(tree, shared, folder, findings))
    run = resolve_run({key: value for key, value in top.items() if key in RUN_KEYS}, folder)
    try:
        return TrainingPlan(**run, stages=tuple(stages))
    except ValidationError as error:
        findings.extend(findings_of(error, tree, lambda path: path))
        return None


def _stages(
    tree: SourceTree, shared: dict[str, Any], folder: FilePath, findings: list[Finding]
) -> Iterable[StagePlan]:
    entries = tree.root.get("stages", [{"name": "train"}])
    if not isinstance(entries, list) or not entries:
        message = "`stages` is a list with one entry per stage: `- {name: warmup, …}`"
        findings.append(Finding("invalid-value", Severity.ERROR, message, tree.value_span(("stages",))))
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            message = "a stage is a mapping: `{name: warmup, …}`"
            findings.append(
                Finding("invalid-value", Severity.ERROR, message, tree.value_span(("stages", index)))
            )
            continue
        if "name" not in entry:
            findings.append(missing_key(tree, ("stages", index), "name"))
        try:
            yield StagePlan.model_validate(resolve_stage({**shared, **entry}, folder))
        except ValidationError as error:
            findings.extend(findings_of(error, tree, _stage_locator(tree, index)))


def _stage_locator(tree: SourceTree, index: int) -> Callable[[Path], Path]:
    """Map a location in a merged stage to the entry or the default it came from."""

    def locate(path: Path) -> Path:
        own: Path = ("stages", index, *path)
        return own if path and own[:3] in tree.places else path or ("stages", index)

    return locate
