"""A run takes over the finished stages of another, and goes on as if it had trained them itself.

Every run of a grid notes the content address of each of its stages. A stage with the same address that is done
anywhere in the grid's folder is linked into the new run: its model, its routing and its rows of metrics.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dpsl.train.run_folder import DONE, PLAN, RunFolder, read_metric_lines, replacing, write_json, write_text

KEYS = "stage_keys"
"""Of environment.json: stage → content address."""
TAKEN = "stages_taken_over"
"""Of environment.json: stage → the run that trained it."""


def note_keys(run: RunFolder, keys: dict[str, str]) -> None:
    """Note the content address of each stage of a run."""
    environment = _environment(run.path)
    if environment.get(KEYS) != keys:
        write_json(run.environment, {**environment, KEYS: keys})


def noted_keys(run: Path) -> dict[str, str]:
    """The content address of each stage of a run; empty where none is noted."""
    return dict(_environment(run).get(KEYS, {}))


def finished_stages(run: Path) -> int:
    """How many stages of a run are done, from the first on."""
    folder = RunFolder(run)
    names = list(noted_keys(run))
    return next((at for at, name in enumerate(names) if not folder.stage(name).done), len(names))


def take_over(run: RunFolder, output: Path, shared: Path) -> list[str]:
    """Link in as many finished stages as any run of the grid has.

    A run that has begun to train by itself is left as it is. A kill at any moment leaves a run that this can be done to
    again: rows of metrics come first, and a stage counts from its `done.json` on, which comes last.

    Args:
        run: a prepared run, its keys noted.
        output: the grid's folder.
        shared: the folder of shared stages.

    Returns:
        The names of the stages that were taken over now.
    """
    keys = noted_keys(run.path)
    names, there = list(keys), finished_stages(run.path)
    if there == len(names) or run.stage(names[there]).checkpoints():
        return []
    best, source = most_finished(keys, output, shared)
    if source is None or best <= there:
        return []
    taken = names[there:best]
    _rows(run, RunFolder(source), names[:best])
    for name in taken:
        _link_stage(run, RunFolder(source), name)
    _last_routing(run, names[:best])
    environment = _environment(run.path)
    origin = _environment(source).get(TAKEN, {})
    trained = {name: origin.get(name, os.path.relpath(source, output)) for name in taken}
    write_json(run.environment, {**environment, TAKEN: {**environment.get(TAKEN, {}), **trained}})
    return taken


def most_finished(keys: dict[str, str], output: Path, shared: Path) -> tuple[int, Path | None]:
    """How many of these stages a run of the grid has at most, from the first on, and which."""
    best: tuple[int, Path | None] = (0, None)
    for other in runs_below(output, shared):
        if (count := _same_and_done(keys, other)) > best[0]:
            best = count, other
    return best


def runs_below(output: Path, shared: Path) -> Iterator[Path]:
    """Every run folder of a grid."""
    for place, pattern in ((shared, "*"), (output, "cells/*/seed-*"), (output, "search/*/setting-*/seed-*")):
        yield from (folder for folder in sorted(place.glob(pattern)) if (folder / PLAN).is_file())


def _same_and_done(keys: dict[str, str], other: Path) -> int:
    """How many stages of the other run are these, and done."""
    theirs = noted_keys(other)
    same = 0
    for (name, key), (name_there, key_there) in zip(keys.items(), theirs.items(), strict=False):
        if name != name_there or key != key_there:
            break
        same += 1
    return min(same, finished_stages(other)) if same else 0


def _rows(run: RunFolder, source: RunFolder, names: Sequence[str]) -> None:
    lines = (line for line, row in read_metric_lines(source.metrics) if row.get("stage") in names)
    write_text(run.metrics, "".join(line + "\n" for line in lines))


def _link_stage(run: RunFolder, source: RunFolder, name: str) -> None:
    origin, target = source.stage(name).path, run.stage(name).path
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(origin.iterdir()):
        if entry.name == DONE or entry.name.startswith("checkpoint-") or entry.name.endswith(".writing"):
            continue
        with replacing(target / entry.name) as beside:
            if entry.is_dir():
                shutil.copytree(entry, beside, copy_function=_link_or_copy)
            else:
                beside.unlink(missing_ok=True)
                _link_or_copy(str(entry), str(beside))
    run.stage(name).mark_done(json.loads((origin / DONE).read_text(encoding="utf-8")))


def _last_routing(run: RunFolder, names: Sequence[str]) -> None:
    """The run's own routing and audit are those of its last stage that has any."""
    for name in names:
        stage = run.stage(name)
        for own, place in ((stage.routing, run.routing), (stage.audit, run.audit)):
            if own.is_file():
                with replacing(place) as beside:
                    beside.unlink(missing_ok=True)
                    shutil.copyfile(own, beside)


def _environment(run: Path) -> dict[str, Any]:
    place = RunFolder(run).environment
    return dict(json.loads(place.read_text(encoding="utf-8"))) if place.is_file() else {}


def _link_or_copy(source: str, target: str) -> None:
    """One copy on disk where the file system allows: finished stages are never written to."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
