"""Tree → Spec: every name looked up, every set and number worked out, every mistake reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import Edit, Finding, Fix, Related, Severity
from priorlang.diagnostics.span import Span, whole_file
from priorlang.diagnostics.suggest import closest, listing
from priorlang.semantics.bounds import TooLargeError, check_bounds
from priorlang.semantics.describe import index_set
from priorlang.semantics.exact import ExactValue
from priorlang.semantics.imports import Program
from priorlang.semantics.order import order_of, plain_parameters
from priorlang.semantics.rules import RuleResolver
from priorlang.semantics.schedule import resolve_schedule
from priorlang.semantics.scope import gather
from priorlang.semantics.sets import Kind, Sets
from priorlang.semantics.spec import AttributeSpec, ModelShape, RuleSpec, Spec
from priorlang.semantics.usage import Use, unused_findings
from priorlang.semantics.values import Values
from priorlang.semantics.vocabulary import attributes_of
from priorlang.semantics.widened import widened_findings
from priorlang.syntax import tree as t

if TYPE_CHECKING:
    from priorlang.model_config import GivenModel

MAXIMUM_LAYERS = 10_000
MAXIMUM_EXPERTS = 10_000
MAXIMUM_CELLS = 4_000_000
"""Of cells, and of layers × experts."""
_MODEL_KEYS = ("layers", "experts", "top_k", "routed")


def resolve(
    program: Program,
    settings: Mapping[str, ExactValue] | None = None,
    model: GivenModel | None = None,
) -> tuple[Spec | None, list[Finding]]:
    """Resolve a program.

    Args:
        program: the parsed files.
        settings: parameters set from outside, as by `--set`; they win over what files state.
        model: the model at hand; contradicting the file is an error.

    Returns:
        The Spec of everything that could be resolved, or None where the model, the default or every
        member of an attribute is missing, or the program is too large; and the findings.
    """
    try:
        check_bounds(program)
        return _Resolver(program, dict(settings or {}), model).run()
    except TooLargeError as error:
        return None, error.findings


class _Resolver:
    def __init__(self, program: Program, settings: dict[str, ExactValue], model: GivenModel | None) -> None:
        self.program = program
        self.settings = settings
        self.given_model = model
        self.misspelt: set[str | None] = set()
        self.unstated: list[str] = []
        self.scope, self.findings = gather(program)
        self.sets = Sets(self.scope, self.findings)
        self.values = Values(
            self.scope, settings, self.findings, lambda node: self.sets.indices("layers", node)
        )
        self.sets.values = self.values

    def run(self) -> tuple[Spec | None, list[Finding]]:
        self.check_settings()
        order = order_of(self.scope)
        for name in plain_parameters(self.scope, order):
            self.parameter(name)
        model = self.model()
        attributes = attributes_of(self.scope, self.findings)
        self.check_size(model, attributes)
        groups = self.groups(order)
        resolver = RuleResolver(self.program, self.scope, self.sets, self.values, attributes, self.findings)
        default = self.default(resolver)
        resolved = {name: resolver.rule(statement) for name, statement in self.scope.rules.items()}
        expects = [resolver.expect(statement) for statement in self.scope.expects]
        schedule = resolve_schedule(self.scope.schedule, self.values, self.findings)
        if not self.scope.broken and not any(f.severity is Severity.ERROR for f in self.findings):
            self.findings.extend(unused_findings(self.program))
            self.findings.extend(widened_findings(self.program, self.scope, self.sets.negations))
        if model is None or default is None or not all(attribute.leaves for attribute in attributes):
            return None, self.findings
        return (
            Spec(
                file=self.program.root,
                version="1",
                model=model,
                attributes=attributes,
                default=default,
                rules=tuple(rule for rule in resolved.values() if rule is not None),
                expects=tuple(expect for expect in expects if expect is not None),
                schedule=schedule,
                allows=tuple(self.scope.allows),
                parameters={k: v for k, v in self.values.parameters.items() if v is not None},
                groups=groups,
                negations=tuple(self.sets.negations),
                imports=tuple(name for name in self.program.files if name != self.program.root),
                conflicts_certain=not any(
                    rule is None and _may_silence(self.scope.rules[name]) for name, rule in resolved.items()
                )
                and not any(keyword in {"rule", ""} for keyword, _ in self.scope.broken),
            ),
            self.findings,
        )

    # --- parameters set from outside -------------------------------------------------------------

    def check_settings(self) -> None:
        for name in self.settings:
            if name not in self.scope.parameters:
                known = [*self.scope.parameters]
                meant = closest(name, known)
                hint = f"did you mean `{meant}`?" if meant else f"it has {listing(known) or 'none'}"
                message = f"{self.program.root} has no parameter `{name}`; {hint}"
                self.error("unknown-name", message, whole_file("--set"))

    # --- the model -------------------------------------------------------------------------------

    def model(self) -> ModelShape | None:
        for key, setting in self.scope.settings.items():
            if key not in _MODEL_KEYS:
                self.misspelt.add(self._unknown_setting(setting))
        layers = self.size("layers", MAXIMUM_LAYERS)
        experts = self.size("experts", MAXIMUM_EXPERTS)
        top_k = self.size("top_k", MAXIMUM_EXPERTS)
        if self.unstated:
            names = listing(self.unstated)
            settings = " ".join(f"{key} = …" for key in self.unstated)
            given = self.given_model
            rest = f": {given.lacking(self.unstated)}" if given is not None else ", or give --model"
            message = f"nothing states the {names} of the model: write `model {{ {settings} }}`{rest}"
            self.error("missing-model", message, self.top())
        self.sets.sizes = {"layers": layers, "experts": experts}
        routed = self.routed(layers)
        span = min((setting.span for setting in self.scope.settings.values()), default=self.top())
        if experts is not None and top_k is not None and experts < top_k:
            place = self.scope.settings["top_k"].span if "top_k" in self.scope.settings else span
            message = f"top_k is {top_k}, and there are only {experts} experts to choose from"
            self.error("out-of-range", message, place)
            return None
        if experts == 1:
            place = self.scope.settings["experts"].span if "experts" in self.scope.settings else span
            self.error("out-of-range", "a router needs at least two experts", place)
            return None
        if layers is None or experts is None or top_k is None or routed is None:
            return None
        return ModelShape(layers, experts, top_k, routed, span)

    def size(self, key: str, maximum: int) -> int | None:
        """One of the numbers of `model`, from the file or from the model at hand."""
        setting = self.scope.settings.get(key)
        given = self.given_model.number(key) if self.given_model is not None else None
        if setting is None:
            if given is None and key not in self.misspelt and not self.scope.is_broken("model"):
                self.unstated.append(key)
            return given
        items = setting.value.items
        if (
            setting.value.negated
            or len(items) != 1
            or not isinstance(items[0], t.NumberLiteral | t.Reference)
        ):
            self.error("invalid-value", f"{key} is one number", setting.value.span)
            return None
        value = self.values.index(items[0], key)
        if value is None:
            return None
        if not 1 <= value <= maximum:
            self.error("out-of-range", f"{key} lies between 1 and {maximum}", setting.value.span)
            return None
        if given is not None and given != value:
            message = f"the file says {key} = {value}, and the model has {given}"
            fix = Fix(f"write {given}", (Edit(setting.value.span, str(given)),), automatic=False)
            related = self.given_model.place(key) if self.given_model is not None else ()
            self.findings.append(
                Finding("model-mismatch", Severity.ERROR, message, setting.span, related, fix=fix)
            )
            return None
        return value

    def routed(self, layers: int | None) -> tuple[int, ...] | None:
        setting = self.scope.settings.get("routed")
        given = self.given_model.routed if self.given_model is not None else None
        if layers is None:
            return None
        if setting is None:
            return given or tuple(range(layers))
        found = self.sets.indices("layers", setting.value)
        if found is None:
            return None
        dense = sorted(found - set(given)) if given is not None else []
        if dense:
            message = f"the file routes layer {dense[0]}, and the model is dense there: it routes {index_set(given or ())}"
            self.error("model-mismatch", message, setting.value.span)
            return None
        return tuple(sorted(found))

    def check_size(self, model: ModelShape | None, attributes: tuple[AttributeSpec, ...]) -> None:
        classes = 1
        for attribute in attributes:
            classes *= max(1, len(attribute.leaves))
            if classes > MAXIMUM_CELLS**2:
                break
        cells = classes * (len(model.routed) if model else 1)
        if cells > MAXIMUM_CELLS:
            count = f"{cells:,}" if classes <= MAXIMUM_CELLS**2 else f"more than {MAXIMUM_CELLS**2:,}"
            message = f"{count} cells (layers × token classes); a prior has at most {MAXIMUM_CELLS:,}"
            self.error("too-large", message, self.top())
            raise TooLargeError(self.findings)
        if model is not None and model.layers * model.experts > MAXIMUM_CELLS:
            message = (
                f"{model.layers * model.experts:,} experts in all; a model has at most {MAXIMUM_CELLS:,}"
            )
            self.error("too-large", message, model.span)
            raise TooLargeError(self.findings)

    # --- default, groups -------------------------------------------------------------------------

    def default(self, rules: RuleResolver) -> RuleSpec | None:
        statement = self.scope.default
        if statement is None:
            if not self.scope.is_broken("default"):
                message = (
                    "nothing says what holds where no rule matches; "
                    "add `default base 1 weight 0.01`, or `default unshaped`"
                )
                self.error("missing-default", message, self.top())
            return None
        return rules.default(statement)

    def parameter(self, name: str) -> None:
        self.values.parameter(t.Reference(name, self.scope.parameters[name].name.span))

    def groups(self, order: list[Use]) -> dict[tuple[str, str], frozenset[int]]:
        """Work out every group, and the parameters that stand on some."""
        for kind, name in order:
            if kind == "parameter":
                self.parameter(name)
            else:
                narrowed: Kind = "experts" if kind == "experts" else "layers"
                self.sets.group(narrowed, self.scope.groups[kind, name].name)
        found = ((key, self.sets.groups.get(key)) for key in self.scope.groups)
        self.sets.used_groups.clear()
        return {key: indices for key, indices in found if indices is not None}

    # --- findings --------------------------------------------------------------------------------

    def _unknown_setting(self, setting: t.Setting) -> str | None:
        """Report it, and give the setting that was meant."""
        meant = closest(setting.key.text, _MODEL_KEYS)
        hint = f"; did you mean `{meant}`?" if meant else f"; there are {', '.join(_MODEL_KEYS)}"
        fix = Fix(f"write `{meant}`", (Edit(setting.key.span, meant),)) if meant else None
        message = f"`model` has no setting `{setting.key.text}`{hint}"
        self.findings.append(Finding("unknown-key", Severity.ERROR, message, setting.key.span, fix=fix))
        return meant

    def top(self) -> Span:
        document = self.program.files[self.program.root].document
        return document.version.span if document.version is not None else whole_file(self.program.root)

    def error(self, name: str, message: str, span: Span, related: tuple[Related, ...] = ()) -> None:
        self.findings.append(Finding(name, Severity.ERROR, message, span, related))


def _may_silence(statement: t.Rule) -> bool:
    unshaped = any(isinstance(effect, t.Unshaped) for effect in statement.effects)
    return statement.overrides is not None or unshaped
