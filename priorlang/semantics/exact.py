"""Exact numbers: what a file writes as a decimal is a fraction until it is rounded once, to float64.

With floats, the order of rules would matter in the last bit of a sum.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction

from priorlang.records import Record

MAXIMUM_DIGITS = 50
MAXIMUM_EXPONENT = 300
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")


class OutOfRangeError(ValueError):
    """A number that no prior needs; its message says which bound it breaks."""


def exact(text: str) -> Fraction:
    """The exact value of a number as the language writes it.

    Raises:
        OutOfRangeError: more than 50 digits, or an exponent beyond ±300.
    """
    found = _NUMBER.fullmatch(text)
    if not found:
        raise OutOfRangeError(f"{text!r} is not a number of the language")
    whole, decimals, exponent = found[1], found[2] or "", found[3] or "0"
    if len(whole) + len(decimals) > MAXIMUM_DIGITS:
        raise OutOfRangeError(f"a number has at most {MAXIMUM_DIGITS} digits")
    if len(exponent) > 4 or abs(int(exponent)) > MAXIMUM_EXPONENT:
        raise OutOfRangeError(f"an exponent lies between -{MAXIMUM_EXPONENT} and {MAXIMUM_EXPONENT}")
    return Fraction(Decimal(text))


def rounded(value: Fraction) -> float:
    """The float64 nearest to an exact value; infinite where it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def decimal_text(value: Fraction) -> str:
    """A number as people write it: the exact decimal where there is a short one, else six digits."""
    denominator = value.denominator
    for factor in (2, 5):
        while denominator % factor == 0:
            denominator //= factor
    if denominator == 1:
        plain = format(Decimal(value.numerator) / Decimal(value.denominator), "f")
        if len(plain) <= 12:
            return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return f"{rounded(value):.6g}"


class LayerRamp(Record):
    """A value that is linear in the decoder layer between `first` and `last`, and constant outside."""

    start: Fraction
    stop: Fraction
    first: int
    last: int

    def at(self, layer: int) -> Fraction:
        """The value at a decoder layer."""
        clamped = min(max(layer, self.first), self.last)
        return self.start + (self.stop - self.start) * Fraction(clamped - self.first, self.last - self.first)


Scalar = Fraction | LayerRamp
ExactValue = Fraction | LayerRamp | tuple[Fraction, ...]


def at_layer(value: Scalar, layer: int) -> Fraction:
    """The value of a number or a ramp at a decoder layer."""
    return value.at(layer) if isinstance(value, LayerRamp) else value
