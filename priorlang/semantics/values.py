"""Numbers, parameters, vectors and ramps → exact values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from priorlang.diagnostics.finding import Edit, Finding, Fix, Severity
from priorlang.diagnostics.span import Span
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.exact import ExactValue, LayerRamp, OutOfRangeError, Scalar, exact
from priorlang.semantics.scope import Scope
from priorlang.syntax import tree as t
from priorlang.syntax.phrases import quoted

MAXIMUM_CHAIN = 40
"""Of parameters, or groups, that are worked out one for the other. Longer ones are circles: see `order`."""


class Values:
    """Evaluates values under the parameters of a program. What cannot be evaluated is a finding and None.

    `layers_of` resolves the layers of a ramp; it is a parameter because layer sets, in their turn,
    hold numbers.
    """

    def __init__(
        self,
        scope: Scope,
        settings: Mapping[str, ExactValue],
        findings: list[Finding],
        layers_of: Callable[[t.SetExpression], frozenset[int] | None],
    ) -> None:
        self.scope = scope
        self.findings = findings
        self.layers_of = layers_of
        self.parameters: dict[str, ExactValue | None] = dict(settings)
        self.used: set[str] = set()
        self.evaluating: list[str] = []

    def value(self, node: t.Value) -> ExactValue | None:
        """Any value: a number, a vector or a ramp."""
        if isinstance(node, t.NumberLiteral):
            return self.literal(node)
        if isinstance(node, t.Reference):
            return self.parameter(node)
        if isinstance(node, t.Vector):
            numbers = [self.number(item) for item in node.items]
            kept = tuple(number for number in numbers if number is not None)
            return kept if len(kept) == len(numbers) else None
        return self.ramp(node)

    def scalar(self, node: t.Value, what: str) -> Scalar | None:
        """A number or a ramp; a vector is a finding."""
        value = self.value(node)
        if isinstance(value, tuple):
            self.error("invalid-value", f"{what} takes a number or a ramp, not a vector", node.span)
            return None
        return value

    def number(self, node: t.Number) -> Fraction | None:
        """A single number."""
        value = self.literal(node) if isinstance(node, t.NumberLiteral) else self.parameter(node)
        if value is None or isinstance(value, Fraction):
            return value
        kind = "a vector" if isinstance(value, tuple) else "a ramp"
        written = f"${node.name}" if isinstance(node, t.Reference) else "this"
        self.error("invalid-value", f"{written} is {kind}, and here stands a number", node.span)
        return None

    def index(self, node: t.Number, what: str) -> int | None:
        """A whole number, for experts and layers."""
        value = self.number(node)
        if value is None:
            return None
        if value.denominator != 1:
            self.error("out-of-range", f"{what} are whole numbers", node.span)
            return None
        return value.numerator

    def literal(self, node: t.NumberLiteral) -> Fraction | None:
        try:
            return exact(node.text)
        except OutOfRangeError as error:
            self.error("out-of-range", str(error), node.span)
            return None

    def ramp(self, node: t.Ramp) -> LayerRamp | None:
        start, stop, layers = self.number(node.start), self.number(node.stop), self.layers_of(node.layers)
        if start is None or stop is None or layers is None:
            return None
        if len(layers) < 2:
            self.error("out-of-range", "a ramp runs over at least two layers", node.layers.span)
            return None
        return LayerRamp(start, stop, min(layers), max(layers))

    def parameter(self, node: t.Reference) -> ExactValue | None:
        self.used.add(node.name)
        if node.name in self.parameters:
            return self.parameters[node.name]
        declared = self.scope.parameters.get(node.name)
        if declared is None:
            if not self.scope.is_broken("param", node.name):
                self.findings.append(
                    unknown_name("parameter", node.name, self.scope.parameters, node.span, "$")
                )
            return None
        if node.name in self.evaluating or len(self.evaluating) >= MAXIMUM_CHAIN:
            ring = ring_text([f"${name}" for name in [*self.evaluating, node.name]])
            self.error("parameter-cycle", f"a parameter cannot stand on itself: {ring}", node.span)
            return None
        self.evaluating.append(node.name)
        value = self.value(declared.value)
        self.evaluating.pop()
        self.parameters[node.name] = value
        return value

    def error(self, name: str, message: str, span: Span) -> None:
        self.findings.append(Finding(name, Severity.ERROR, message, span))


def ring_text(names: list[str]) -> str:
    """The names of a circle, in order."""
    shown = names if len(names) <= 9 else [*names[:4], "…", *names[-4:]]
    return " → ".join(shown)


def unknown_name(
    kind: str, word: str, known: Mapping[str, object] | list[str], span: Span, sign: str = ""
) -> Finding:
    """The `unknown-name` of a name that nothing declares, with the nearest one that something does."""
    names = list(known)
    meant = closest(word, names)
    message = f"there is no {kind} `{sign}{word}`"
    if meant is not None:
        fix = Fix(f"write `{sign}{meant}`", (Edit(span, sign + quoted(meant)),))
        return Finding(
            "unknown-name", Severity.ERROR, f"{message}; did you mean `{sign}{meant}`?", span, fix=fix
        )
    hint = f"; there are {listing(names)}" if names else "; none is declared"
    return Finding("unknown-name", Severity.ERROR, message + hint, span)
