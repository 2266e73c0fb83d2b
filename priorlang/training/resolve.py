"""Paths of a training file, made absolute from the folder it lies in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from priorlang.training.lineage import is_folder
from priorlang.training.model_plan import COMPOSED_KEYS

SOURCE = ("path", "images")


def resolve_run(run: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The run's own keys with absolute paths. A hub name stays what it is."""
    resolved = dict(run)
    for key in ("model_name_or_path", "processor"):
        if isinstance(run.get(key), str):
            resolved[key] = _folder_or_hub_name(run[key], folder)
    if isinstance(run.get("output_dir"), str):
        resolved["output_dir"] = absolute(run["output_dir"], folder)
    if isinstance(run.get("model"), dict):
        resolved["model"] = _model(run["model"], folder)
    return resolved


def resolve_stage(stage: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A merged stage with absolute paths."""
    resolved = _with_paths(stage, ("prior",), folder)
    upcycle = stage.get("upcycle")
    if isinstance(upcycle, dict):
        resolved["upcycle"] = _with_branches(_with_paths(upcycle, ("router_from",), folder), folder)
    for key, paths in (("data", SOURCE), ("eval_data", SOURCE), ("evaluate", ("include_path",))):
        sources = stage.get(key)
        if isinstance(sources, dict):
            sources = [sources]
        if isinstance(sources, list):
            resolved[key] = [
                _with_paths(source, paths, folder) if isinstance(source, dict) else source
                for source in sources
            ]
    if isinstance(stage.get("deepspeed"), str):
        resolved["deepspeed"] = absolute(stage["deepspeed"], folder)
    return resolved


def absolute(path: str, folder: Path) -> str:
    """`path` from `folder`, `~` expanded, without `..`."""
    return str((folder / Path(path).expanduser()).resolve())


def _model(model: dict[str, Any], folder: Path) -> dict[str, Any]:
    resolved = _with_paths(model, ("config",), folder)
    for key in COMPOSED_KEYS:
        if isinstance(model.get(key), str):
            resolved[key] = _folder_or_hub_name(model[key], folder)
    if isinstance(model.get("configs"), dict):
        resolved["configs"] = _with_paths(model["configs"], COMPOSED_KEYS, folder)
    return resolved


def _with_paths(mapping: dict[str, Any], keys: tuple[str, ...], folder: Path) -> dict[str, Any]:
    found = {key: absolute(mapping[key], folder) for key in keys if isinstance(mapping.get(key), str)}
    return {**mapping, **found}


def _with_branches(upcycle: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Branches that are folders, with absolute paths; names of stages stay what they are."""
    given = upcycle.get("branches")
    branches = [given] if isinstance(given, str) else given
    if not isinstance(branches, list):
        return upcycle
    resolved = [
        _folder_or_hub_name(branch, folder) if isinstance(branch, str) and is_folder(branch) else branch
        for branch in branches
    ]
    return {**upcycle, "branches": resolved}


def _folder_or_hub_name(name: str, folder: Path) -> str:
    local = absolute(name, folder)
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/")
    return local if looks_local or Path(local).exists() else name
