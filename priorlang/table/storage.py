"""Prior tables on disk: safetensors, one JSON text in the header, and a checksum over all of it.

The same table gives the same bytes on any machine. Reading writes the table again in memory and
compares, so a file with a wrong byte anywhere, header included, is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.files import write_whole
from priorlang.table.prior_table import PriorTable, SourceRule, TableAttribute, TableHeader

FORMAT = "priorlang-table-1"
_ARRAYS = {
    "layer": (np.int32, 1),
    "row": (np.int32, 2),
    "population": (np.int32, 2),
    "alpha": (np.float64, 2),
    "weight": (np.float64, 1),
    "pair": (np.int32, 2),
    "marginal": (np.float32, 3),
    "window": (np.float32, 2),
}


def write_table(table: PriorTable, path: Path) -> None:
    """Write a table, whole or not at all. Raises PriorError where the place cannot be written."""
    write_whole(path, table_bytes(table))


def read_table(path: Path) -> PriorTable:
    """Read a table. Raises PriorError where it is missing, no table, or damaged."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _refused(path, "missing-file", f"there is no file {path}") from None
    except OSError as error:
        raise _refused(path, "unreadable-file", f"{path} cannot be read: {error.strerror}") from None
    return table_of(raw, path)


def table_bytes(table: PriorTable) -> bytes:
    """The file of a table."""
    from safetensors.numpy import save

    arrays = {
        # Explicitly little-endian and contiguous: the bytes that every machine writes.
        name: np.ascontiguousarray(getattr(table, name), dtype=np.dtype(kind).newbyteorder("<"))
        for name, (kind, _) in _ARRAYS.items()
    }
    words = _json(asdict(table.header))
    digest = hashlib.sha256(words.encode())
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    header = _json({"format": FORMAT, "sha256": digest.hexdigest(), "table": json.loads(words)})
    return save(arrays, metadata={"priorlang": header})


def table_of(raw: bytes, path: Path) -> PriorTable:
    """The table in the bytes of a file; `path` is for messages."""
    from safetensors.numpy import load

    try:
        size = int.from_bytes(raw[:8], "little")
        written = json.loads(raw[8 : 8 + size])["__metadata__"]["priorlang"]
        stored = dict(json.loads(written))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _refused(path, "invalid-table", f"{path} is no prior table") from None
    if stored.get("format") != FORMAT:
        message = f"{path} has the format {stored.get('format')!r}; this version reads {FORMAT}"
        raise _refused(path, "invalid-table", message)
    damaged = _refused(path, "invalid-table", f"{path} is damaged; compile it again")
    try:
        arrays = load(raw)
        table = PriorTable(header=_header(stored["table"]), **{name: arrays[name] for name in _ARRAYS})
    except Exception:
        # safetensors raises its own type, and damaged names and shapes raise nearly any other.
        raise damaged from None
    if table_bytes(table) != raw:
        raise damaged
    return table


def _header(stored: dict[str, Any]) -> TableHeader:
    """The header as it was before JSON made lists of its tuples."""
    return TableHeader(
        **{
            **stored,
            "attributes": tuple(
                TableAttribute(
                    item["name"],
                    tuple(item["members"]),
                    tuple((name, tuple(leaves)) for name, leaves in item["parents"]),
                )
                for item in stored["attributes"]
            ),
            "schedule": tuple((place, factor) for place, factor in stored["schedule"]),
            "populations": tuple(stored["populations"]),
            "sources": tuple(tuple(SourceRule(**rule) for rule in rules) for rules in stored["sources"]),
        }
    )


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def _refused(path: Path, name: str, message: str) -> PriorError:
    return PriorError([Finding(name, Severity.ERROR, message, whole_file(str(path)))])
