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
    for name, value in named_texts(texts, "boost=0.25").items():
        stripped = value.strip()
        if stripped.startswith("(") and stripped.endswith(")"):
            parts = stripped[1:-1].strip().removesuffix(",").split(",")
            found[name] = tuple(_number(name, part) for part in parts)
        else:
            found[name] = _number(name, stripped)
    return found


def named_texts(texts: Iterable[str], example: str) -> dict[str, str]:
    """What each `--set NAME=VALUE` text gives its name, as it is written; a name given twice has the last.

    Args:
        texts: of the command line.
        example: one that could be meant, for who writes something else.

    Raises:
        PriorError: some of them are not NAME=VALUE; a finding for each.
    """
    parts = [(text, *text.partition("=")) for text in texts]
    wrong = [text for text, name, equals, _ in parts if not equals or not name.strip()]
    if wrong:
        raise PriorError([_refusal(f"`{text}` is not NAME=VALUE, as in {example}") for text in wrong])
    return {name.strip(): value for _, name, _, value in parts}


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
    return PriorError([_refusal(message)])


def _refusal(message: str) -> Finding:
    return Finding("invalid-value", Severity.ERROR, message, whole_file(_PLACE))
