"""Parameters set from outside, by `--set NAME=VALUE` or from Python → exact values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file
from priorlang.semantics.exact import ExactValue, OutOfRangeError, exact

Setting = str | int | float | Decimal | Fraction | Iterable[str | int | float | Decimal | Fraction]
_PLACE = "--set"


def settings_of(given: Mapping[str, Setting]) -> dict[str, ExactValue]:
    """Exact values of settings. A float means the decimal that Python prints for it; a list is a vector.

    Raises:
        PriorError: a value is no number, or is negative.
    """
    return {name: _value(name, value) for name, value in given.items()}


def parse_settings(texts: Iterable[str]) -> dict[str, ExactValue]:
    """The settings of `--set NAME=VALUE …`; a value is written as in a prior file.

    Raises:
        PriorError: a text is not NAME=VALUE, or its value cannot be read.
    """
    found: dict[str, ExactValue] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise _refused(f"`{text}` is not NAME=VALUE, as in boost=0.25")
        stripped = value.strip()
        if stripped.startswith("(") and stripped.endswith(")"):
            parts = stripped[1:-1].strip().removesuffix(",").split(",")
            found[name.strip()] = tuple(_number(name, part) for part in parts)
        else:
            found[name.strip()] = _number(name, stripped)
    return found


def _value(name: str, value: Setting) -> ExactValue:
    if isinstance(value, str | int | float | Decimal | Fraction):
        return _number(name, value)
    return tuple(_number(name, item) for item in value)


def _number(name: str, value: str | float | Decimal | Fraction) -> Fraction:
    written = str(value).strip()
    if written.startswith("-"):
        raise _refused(f"{name}: numbers are never negative")
    if isinstance(value, Fraction):
        return value
    try:
        return exact(written)
    except OutOfRangeError as error:
        raise _refused(f"{name}: {error}") from None


def _refused(message: str) -> PriorError:
    return PriorError([Finding("invalid-value", Severity.ERROR, message, whole_file(_PLACE))])
