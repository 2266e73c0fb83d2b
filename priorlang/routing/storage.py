"""The file of RoutingStatistics: safetensors, its names as JSON in the header under `routing`.

Arrays of token classes carry the prefix `class_`; they are absent where the statistics have none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.files import write_whole
from priorlang.routing.class_sums import CLASS_ARRAYS, ClassSums
from priorlang.routing.statistics import BINS, RoutingStatistics

VERSION = 2
"""2 added `top` and the sums of token classes."""
_KEY = "routing"
_ARRAYS = (
    "layer", "group_layer", "group_population", "tokens", "load", "top", "probability", "log_probability", "bins",
)  # fmt: skip
_CLASS_ARRAYS = {f"class_{name}": name for name in CLASS_ARRAYS}


def write_statistics(statistics: RoutingStatistics, path: Path) -> None:
    """Write statistics, whole or not at all. Raises PriorError where the place cannot be written."""
    from safetensors.numpy import save

    arrays = {name: getattr(statistics, name) for name in _ARRAYS}
    if statistics.classes is not None:
        arrays |= {key: getattr(statistics.classes, name) for key, name in _CLASS_ARRAYS.items()}
    # safetensors writes the memory behind a view, not what the view shows.
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    header = json.dumps({"version": VERSION, "group_name": list(statistics.group_name)}, ensure_ascii=False)
    write_whole(path, save(arrays, metadata={_KEY: header}))


def read_statistics(path: Path) -> RoutingStatistics:
    """Read what `write_statistics` wrote.

    Raises:
        PriorError: the file is missing or holds no routing statistics.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise _refused(path, "missing-file", f"there is no file {path}") from None
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise _refused(path, "invalid-routing", f"{path} cannot be read as safetensors: {error}") from None
    return _statistics_of(path, header, arrays)


def _statistics_of(path: Path, header: Any, arrays: dict[str, Any]) -> RoutingStatistics:
    version = header.get("version") if isinstance(header, dict) else None
    if version is None:
        raise _refused(path, "invalid-routing", f"{path} holds no routing statistics")
    if version != VERSION:
        message = f"{path} holds routing statistics of version {version}, and this release reads {VERSION}"
        raise _refused(path, "invalid-routing", f"{message}; train again")
    damaged = _refused(path, "invalid-routing", f"{path} is damaged: its arrays do not fit each other")
    classes = {name: arrays.pop(key) for key, name in _CLASS_ARRAYS.items() if key in arrays}
    if set(arrays) != set(_ARRAYS) or len(classes) not in (0, len(_CLASS_ARRAYS)):
        raise damaged
    try:
        statistics = RoutingStatistics.of(
            **arrays,
            group_name=header["group_name"],
            classes=ClassSums.of(**classes) if classes else None,
        )
    except (KeyError, TypeError, ValueError):
        raise damaged from None
    if not _fits(statistics):
        raise damaged
    sums = [statistics.log_probability, statistics.probability]
    if statistics.classes is not None:
        sums.append(statistics.classes.log_probability)
    if not all(np.isfinite(array).all() for array in sums):
        raise _refused(
            path, "invalid-routing", f"{path} holds sums that are no numbers: the run has diverged"
        )
    return statistics


def _fits(statistics: RoutingStatistics) -> bool:
    """Whether the shapes agree, and nothing was counted below 0."""
    if statistics.load.ndim != 2 or statistics.layer.ndim != 1:
        return False
    groups, experts = statistics.load.shape
    whole = len(statistics.group_name) == groups and all(
        getattr(statistics, name).shape == shape
        for name, shape in (
            ("group_layer", (groups,)),
            ("group_population", (groups,)),
            ("tokens", (groups,)),
            ("top", (groups, experts)),
            ("probability", (groups, experts)),
            ("log_probability", (groups, experts)),
            ("bins", (groups, experts, BINS)),
        )
    )
    classes = statistics.classes
    if whole and classes is not None:
        shape = classes.load.shape
        whole = classes.tokens.shape == shape[:2] and shape[::2] == (len(statistics.layer), experts)
        whole = whole and all(
            getattr(classes, name).shape == shape for name in CLASS_ARRAYS if name != "tokens"
        )
    counts = [statistics.tokens, statistics.top] + ([] if classes is None else [classes.tokens, classes.top])
    return whole and all((count >= 0).all() for count in counts)


def _refused(path: Path, name: str, message: str) -> PriorError:
    return PriorError([Finding(name, Severity.ERROR, message, whole_file(str(path)))])
