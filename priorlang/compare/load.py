"""What `diff` may be given: a prior file, a compiled table, or a run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from priorlang.compare.difference import Side
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.model_config import GivenModel
from priorlang.phases import Prior
from priorlang.semantics.exact import ExactValue
from priorlang.syntax.source import SourceFile, read_source
from priorlang.table.prior_table import PriorTable, TableHeader
from priorlang.training import is_training_file


@dataclass(frozen=True)
class Subject:
    """One argument of `diff`; `run` where it is a run folder."""

    side: Side
    run: Path | None = None


def load_subject(
    path: str,
    settings: Mapping[str, ExactValue] | None = None,
    model: GivenModel | None = None,
    stands_at: str | None = None,
) -> Subject:
    """Read one argument of `diff` or `preview`.

    Args:
        path: a prior file, a table or a run folder; the null device is no prior at all.
        settings: values of declared parameters.
        model: what `--model` says.
        stands_at: where a prior file counts as standing: its form goes by this name, and its imports are found
            from there.

    Raises:
        PriorError: there is no such file, it is no prior, or anything is wrong with it.
    """
    place = Path(path)
    if path == os.devnull:
        return Subject(NOTHING)
    if os.path.isdir(path):
        return _load_run(place)
    if place.suffix == ".safetensors":
        return Subject(Side(path, PriorTable.load(place)))
    source = read_source(path)
    if source.is_yaml and is_training_file(source):
        raise PriorError([_refused(path, f"{path} is a training file; name the prior that it trains with")])
    if stands_at is not None:
        source = SourceFile(stands_at, source.text)
    prior = Prior(source, settings, model)
    return Subject(Side(path, prior.table, prior.spec))


def _no_table() -> PriorTable:
    """A table without cells."""
    return PriorTable(
        TableHeader("", 0, 0, 0, (), (), "fraction", (), (), ""),
        layer=np.zeros(0, np.int32),
        row=np.zeros((0, 1), np.int32),
        population=np.zeros((0, 1), np.int32),
        alpha=np.zeros((0, 0)),
        weight=np.zeros(0),
        pair=np.zeros((0, 0), np.int32),
        marginal=np.zeros((0, 0, 3), np.float32),
        window=np.zeros((0, 2), np.float32),
    )


NOTHING = Side("(nothing)", _no_table())
"""The side of a prior that is not there yet, or no more."""


def _load_run(folder: Path) -> Subject:
    """A run folder keeps the prior it was trained with: the table, and the source beside it."""
    table_file = folder / "prior.safetensors"
    if not table_file.is_file():
        message = f"{folder} is no run folder with a prior: it has no prior.safetensors"
        raise PriorError([_refused(str(folder), message)])
    table = PriorTable.load(table_file)
    source = next(
        (folder / name for name in ("prior.prior", "prior.yaml") if (folder / name).is_file()), None
    )
    spec = None
    if source is not None:
        try:
            spec = Prior.read(source).spec
        except PriorError:
            # The source may stand on imports that lie elsewhere; the table says everything that counts.
            spec = None
    return Subject(Side(str(folder), table, spec), folder)


def _refused(path: str, message: str) -> Finding:
    return Finding("unreadable-file", Severity.ERROR, message, whole_file(path))
