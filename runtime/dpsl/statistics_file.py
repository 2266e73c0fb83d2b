"""The file of RoutingStatistics: safetensors, its names as JSON in the header under `routing`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dpsl.errors import StatisticsError
from dpsl.statistics import RoutingStatistics

_KEY = "routing"
_ARRAYS = (
    "layer", "group_layer", "group_population", "tokens", "load", "probability", "log_probability", "bins",
)  # fmt: skip


def write_statistics(statistics: RoutingStatistics, path: Path) -> None:
    """Write beside the target, then move into place."""
    header = json.dumps({"version": 1, "group_name": list(statistics.group_name)}, ensure_ascii=False)
    content = save({name: getattr(statistics, name) for name in _ARRAYS}, metadata={_KEY: header})
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_statistics(path: Path) -> RoutingStatistics:
    """Read what `write_statistics` wrote.

    Raises:
        StatisticsError: the file is missing or holds no routing statistics.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StatisticsError(str(path), "no such file", "name a routing.safetensors of a run") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise StatisticsError(str(path), f"it cannot be read ({error})", "write it again") from None
    if header.get("version") != 1 or set(arrays) != set(_ARRAYS):
        raise StatisticsError(
            str(path), "it holds no routing statistics", "name a routing.safetensors of a run"
        )
    return RoutingStatistics.of(**arrays, group_name=header["group_name"])
