"""Frozen records: what a frozen dataclass gives, without the code that it writes.

A dataclass writes and compiles its methods when its module is imported. For the classes of a compiler that
costs more than checking a file, so the classes that every run of it loads are records.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, TypeVar, dataclass_transform

R = TypeVar("R", bound="Record")
_REQUIRED = object()


@dataclass_transform(frozen_default=True)
class _RecordType(type):
    """Makes a slot of every annotated name. Fields named in `uncompared` take no part in equality, here or
    in the classes below.
    """

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        uncompared: tuple[str, ...] | None = None,
    ) -> _RecordType:
        fields = tuple(field for field in namespace.get("__annotations__", {}) if not field.startswith("_"))
        defaults = tuple(namespace.pop(field, _REQUIRED) for field in fields)
        cached = any(isinstance(value, cached_property) for value in namespace.values())
        namespace["__match_args__"] = fields
        namespace["__slots__"] = (*fields, "__dict__") if cached else fields
        made = super().__new__(mcs, name, bases, namespace)
        apart: tuple[str, ...] = getattr(made, "_uncompared", ()) if uncompared is None else uncompared
        compared = [field for field in fields if field not in apart]
        made._uncompared = apart  # type: ignore[attr-defined]
        made._fields = fields  # type: ignore[attr-defined]
        made._defaults = defaults  # type: ignore[attr-defined]
        made._puts = tuple(made.__dict__[field].__set__ for field in fields)  # type: ignore[attr-defined]
        made._said = staticmethod(attrgetter(*compared) if compared else _nothing)  # type: ignore[attr-defined]
        return made


def _nothing(_: object) -> None:
    """What a record without compared fields says."""


class Record(metaclass=_RecordType):
    """Base of frozen records. Records of one class are equal where their compared fields are."""

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[tuple[object, ...]]
    _puts: ClassVar[tuple[Callable[[object, object], None], ...]]
    _said: ClassVar[Any]

    def __init__(self, *values: object, **named: object) -> None:
        if named or len(values) != len(self._puts):
            values = _completed(type(self), values, named)
        for put, value in zip(self._puts, values, strict=True):
            put(self, value)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        said: Callable[[object], object] = type(self)._said
        return bool(said(self) == said(other))

    def __hash__(self) -> int:
        said: Callable[[object], object] = type(self)._said
        return hash((type(self), said(self)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be set: records are frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be deleted: records are frozen")

    def __repr__(self) -> str:
        values = ", ".join(f"{field}={getattr(self, field)!r}" for field in self._fields)
        return f"{type(self).__qualname__}({values})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), tuple(getattr(self, field) for field in self._fields)


def replace(record: R, **changes: object) -> R:
    """The record with some fields changed."""
    unknown = changes.keys() - set(record._fields)
    if unknown:
        raise TypeError(f"{type(record).__name__} has no field {min(unknown)!r}")
    values = (changes[field] if field in changes else getattr(record, field) for field in record._fields)
    return type(record)(*values)


def _completed(
    kind: type[Record], values: tuple[object, ...], named: dict[str, object]
) -> tuple[object, ...]:
    """The value of every field, where some are given by name or left out."""
    fields = kind._fields
    if len(values) > len(fields):
        raise TypeError(f"{kind.__name__} has {len(fields)} fields, and {len(values)} values were given")
    complete = list(values)
    for field, default in list(zip(fields, kind._defaults, strict=True))[len(values) :]:
        value = named.pop(field, default)
        if value is _REQUIRED:
            raise TypeError(f"{kind.__name__} needs a value of {field!r}")
        complete.append(value)
    if named:
        raise TypeError(f"{kind.__name__} takes no {min(named)!r} here")
    return tuple(complete)
