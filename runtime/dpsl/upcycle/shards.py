"""The weights of a checkpoint folder in safetensors, read by name and written shard by shard."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dpsl.errors import UpcycleError
from dpsl.upcycle.finite import check_finite

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class Stored:
    """One tensor of a checkpoint: where it is, and what its header says of it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return BYTES.get(self.dtype, 1)

    @property
    def bytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.itemsize


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a folder, by name. Only headers are read until tensors are asked for."""

    folder: Path
    tensors: Mapping[str, Stored]

    def load(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Some tensors, copied out of their files.

        Raises:
            UpcycleError: a file cannot be read, or a tensor holds NaN or infinity.
        """
        found: dict[str, Tensor] = {}
        for file in dict.fromkeys(self.tensors[name].file for name in names):
            with _readable(file) as opened:
                here = [name for name in names if self.tensors[name].file == file]
                loaded = {name: opened.get_tensor(name).clone() for name in here}
            check_finite(loaded, str(file))
            found |= loaded
        return found


def open_checkpoint(folder: Path) -> Checkpoint:
    """Read the headers of a folder's weights.

    Raises:
        UpcycleError: there are none in safetensors, or a shard is missing or cannot be read.
    """
    index = folder / INDEX
    if index.is_file():
        files = [folder / name for name in sorted(set(_weight_map(index).values()))]
        if not files:
            raise UpcycleError(str(index), "it lists no weights", "download the checkpoint again")
    elif (folder / SINGLE).is_file():
        files = [folder / SINGLE]
    else:
        other = any(folder.glob("*.bin"))
        raise UpcycleError(
            str(folder),
            "its weights are no safetensors" if other else f"there is no {SINGLE} and no {INDEX}",
            "load the model and save it with save_pretrained" if other else "name a checkpoint folder",
        )
    tensors: dict[str, Stored] = {}
    for file in files:
        with _readable(file) as opened:
            for name in opened.keys():  # noqa: SIM118  (a file, not a mapping)
                part = opened.get_slice(name)
                tensors[name] = Stored(file, tuple(part.get_shape()), part.get_dtype())
    if index.is_file() and (absent := sorted(_weight_map(index).keys() - tensors.keys())):
        more = f" and {len(absent) - 1} more that it lists" if len(absent) > 1 else ", which it lists"
        raise UpcycleError(str(index), f"no shard holds {absent[0]}{more}", "download the checkpoint again")
    return Checkpoint(folder, tensors)


class ShardWriter:
    """Writes shards as they come, and the index at the end.

    Args:
        folder: where to.
        count: how many there will be.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        self._map: dict[str, str] = {}
        self._bytes = 0

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Write one shard."""
        number = len(set(self._map.values())) + 1
        name = f"model-{number:05d}-of-{self._count:05d}.safetensors"
        save_file(
            {key: tensor.contiguous() for key, tensor in tensors.items()},
            self._folder / name,
            {"format": "pt"},
        )
        self._map |= dict.fromkeys(tensors, name)
        self._bytes += sum(tensor.nbytes for tensor in tensors.values())

    def finish(self) -> None:
        """Write the index."""
        content = {"metadata": {"total_size": self._bytes}, "weight_map": dict(sorted(self._map.items()))}
        (self._folder / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _readable(file: Path) -> Iterator[Any]:
    if not file.is_file():
        raise UpcycleError(str(file), "this shard is missing", "download the checkpoint again")
    try:
        with safe_open(file, framework="pt") as opened:
            yield opened
    except (OSError, SafetensorError) as error:
        raise UpcycleError(
            str(file), f"this shard cannot be read ({error})", "download the checkpoint again"
        ) from None


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise UpcycleError(str(index), "this is no index of safetensors", "download the checkpoint again")
    for tensor, name in found.items():
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise UpcycleError(
                str(index),
                f"it looks for {tensor} outside of the folder, in {name!r}",
                "put the shard into the folder and name it there, or download the checkpoint again",
            )
    return found
