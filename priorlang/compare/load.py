"""What `diff` may be given: a prior file, a compiled table, or a run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from priorlang.compare.difference import Side
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.model_config import GivenModel
from priorlang.phases import Prior
from priorlang.semantics.exact import ExactValue
from priorlang.table.prior_table import PriorTable


@dataclass(frozen=True)
class Subject:
    """One argument of `diff`; `run` where it is a run folder."""

    side: Side
    run: Path | None = None


def load_subject(
    path: str, settings: Mapping[str, ExactValue] | None = None, model: GivenModel | None = None
) -> Subject:
    """Read one argument of `diff` or `preview`.

    Raises:
        PriorError: there is no such file, it is no prior, or anything is wrong with it.
    """
    place = Path(path)
    if os.path.isdir(path):
        return _load_run(place)
    if place.suffix == ".safetensors":
        return Subject(Side(path, PriorTable.load(place)))
    return Subject(_compiled(path, settings, model))


def _load_run(folder: Path) -> Subject:
    """A run folder keeps the prior it was trained with: the table, and the source beside it."""
    table_file = folder / "prior.safetensors"
    if not table_file.is_file():
        message = f"{folder} is no run folder with a prior: it has no prior.safetensors"
        raise PriorError([Finding("missing-file", Severity.ERROR, message, whole_file(str(folder)))])
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


def _compiled(path: str, settings: Mapping[str, ExactValue] | None, model: GivenModel | None) -> Side:
    prior = Prior.read(path, settings, model)
    return Side(path, prior.table, prior.spec)
