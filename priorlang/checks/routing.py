"""A prior against routing → findings: before it is on, `prior-mismatch`; after it, `not-attained`.

docs/checks/routing.md says what is measured, how often the limits are wrong, and what cannot be seen this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from priorlang.checks.routing_limits import (
    TV_TOP_STRONG,
    deficit,
    differs,
    kl_limit,
    ks_limit,
    preferred_experts,
    rms_limit,
)  # fmt: skip
from priorlang.checks.witness import witness
from priorlang.diagnostics.finding import Finding, Related, Severity
from priorlang.diagnostics.human import counted
from priorlang.routing.attainment import Attainment, attainment
from priorlang.routing.populations import PopulationRouting, populations_of
from priorlang.routing.run import RunRouting
from priorlang.semantics.describe import index_set
from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.table.prior_table import PriorTable

_NUMBERS_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Measured:
    """A population and how far it lies from its prior α [K]; `flagged` where a finding is about it."""

    population: PopulationRouting
    alpha: NDArray[np.float64]
    attainment: Attainment
    flagged: bool


@dataclass(frozen=True, eq=False)
class RoutingCheck:
    """What a run's routing says about a prior: findings, a sentence for each thing to bear in mind, the figures."""

    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    measured: tuple[Measured, ...]


def check_routing(spec: Spec, table: PriorTable, run: RunRouting) -> RoutingCheck:
    """Hold a prior to the routing of a run.

    Args:
        spec: the prior.
        table: the same, compiled.
        run: routing of the same model over the same token classes; under this prior, another, or none yet.

    Raises:
        PriorError: the run and the prior do not fit together.
    """
    flags = _not_attained if run.shaped else _mismatched
    measured = tuple(
        Measured(population, alpha, found, flags(found, population.tokens))
        for population in populations_of(run, table)
        for alpha in (table.alpha[population.row],)
        for found in (attainment(population, alpha),)
    )
    describe = _describe_not_attained if run.shaped else _describe_mismatch
    name = "not-attained" if run.shaped else "prior-mismatch"
    findings = [_finding(spec, table, name, group, describe) for group in _by_prior(table, measured).values()]
    if not measured:
        return RoutingCheck((), (f"{_where(run)} has no tokens that this prior shapes",), ())
    remarks = _remarks_after(table, run, measured) if run.shaped else _remarks_before(run, measured)
    return RoutingCheck(tuple(findings), tuple(remarks), measured)


def _mismatched(found: Attainment, tokens: int) -> bool:
    return differs(found.top_share, found.top_asked, tokens)


def _not_attained(found: Attainment, tokens: int) -> bool:
    return bool(_exceeded(found, tokens))


def _exceeded(found: Attainment, tokens: int) -> list[str]:
    """Each measure above its limit, in words."""
    return [
        f"{name} {_figure(value)} above {_figure(limit)}"
        for name, value, limit in _measures(found, tokens)
        if value > limit
    ]


def _times_the_limit(found: Attainment, tokens: int) -> float:
    """How many times its limit the measure is that exceeds it most."""
    return max(value / limit for _, value, limit in _measures(found, tokens))


def _measures(found: Attainment, tokens: int) -> Iterator[tuple[str, float, float]]:
    """Each measure by name, with its limit."""
    experts = len(found.fitted)
    if found.ks is not None:
        yield "KS", float(found.ks.max()), ks_limit(experts, tokens)
    if found.rms is not None:
        yield "RMS", float(found.rms.max()), rms_limit(experts, tokens)
    yield "KL", found.kl, kl_limit(experts, tokens)


def _by_prior(table: PriorTable, measured: Iterable[Measured]) -> Mapping[object, list[Measured]]:
    """What is flagged, layers together that have the same tokens under the same rules."""
    groups: dict[object, list[Measured]] = {}
    for item in measured:
        if item.flagged:
            rules = tuple(source.rule for source in table.header.sources[item.population.row])
            groups.setdefault((item.population.name, rules), []).append(item)
    return groups


def _finding(
    spec: Spec, table: PriorTable, name: str, group: list[Measured], describe: Callable[[Measured], str]
) -> Finding:
    def distance(item: Measured) -> float:
        if name == "not-attained":
            return _times_the_limit(item.attainment, item.population.tokens)
        return item.attainment.tv_top

    worst = max(group, key=distance)
    layers = [item.population.layer for item in group]
    words = f"`{worst.population.name}` in {_layers(layers)}: {describe(worst)}"
    if len(layers) > 1:
        words += f" (in layer {worst.population.layer}, the farthest off)"
    rules = _rules(spec, table, worst.population.row)
    related = tuple(Related(f"`{rule.name}` has a part in it", rule.name_span) for rule in rules[1:])
    where = witness(spec, worst.population.layer, worst.population.token_class)
    return Finding(name, Severity.WARNING, words, rules[0].name_span, related, where)


def _rules(spec: Spec, table: PriorTable, row: int) -> list[RuleSpec]:
    """The rules that make a prior, the default only where nothing else does."""
    names = [source.rule for source in table.header.sources[row]]
    rules = [rule for name in names if (rule := spec.rule(name)) is not None]
    return rules or [spec.default]


def _describe_mismatch(item: Measured) -> str:
    found = item.attainment
    preferred = preferred_experts(found.top_asked)
    experts = _experts(np.flatnonzero(preferred))
    asked = found.top_asked[preferred].sum()
    chosen = np.argsort(-found.top_share)[: max(1, int(preferred.sum()))]
    strong = ", strong" if found.tv_top > TV_TOP_STRONG else ""
    return (
        f"{experts} should come first for {_percent(asked)} of the tokens and "
        f"{'does' if preferred.sum() == 1 else 'do'} for {_percent(asked - deficit(found.top_share, found.top_asked))}; "
        f"{_experts(chosen)} for {_percent(found.top_share[chosen].sum())} (TVtop {_figure(found.tv_top)}{strong})"
    )


def _describe_not_attained(item: Measured) -> str:
    exceeded = ", ".join(_exceeded(item.attainment, item.population.tokens))
    return f"{exceeded}; the prior has {_vector(item.alpha)}, what fits is {_vector(item.attainment.fitted)}"


def _remarks_before(run: RunRouting, measured: tuple[Measured, ...]) -> list[str]:
    """What was looked at before the prior was on, and what this cannot show."""
    flagged = sum(item.flagged for item in measured)
    ordered = [item for item in measured if preferred_experts(item.attainment.top_asked).any()]
    remarks = [
        f"{_where(run)}: the prior is not on yet. {flagged} of {len(ordered)} populations with a preference have "
        f"another order of experts{_largest(ordered, ('TVtop', lambda found: found.tv_top))}"
    ]
    if len(ordered) < len(measured):
        balanced = (
            "the run sought balanced load, and " if run.balanced else "where a run seeks balanced load, "
        )
        remarks.append(
            f"of {counted(len(measured) - len(ordered), 'population')} the prior is symmetric, which no routing can speak against: "
            f"{balanced}imbalance of the data does not show. Only the shares of tokens tell: --shares"
        )
    if ordered and not flagged:
        remarks.append("no mismatch is no proof: a router without an order of its own agrees with any prior")
    return remarks


def _remarks_after(table: PriorTable, run: RunRouting, measured: tuple[Measured, ...]) -> list[str]:
    """What was attained, and that this is not the same as correct."""
    attained = sum(not item.flagged for item in measured)
    everything = attained == len(measured)
    figures = _largest(measured, ("KS", _most("ks")), ("RMS", _most("rms")), ("KL", lambda found: found.kl))
    remarks = [
        f"{_where(run)}: {f'all {attained}' if everything else f'{attained} of {len(measured)}'} populations "
        f"attained, which is not the same as correct{figures}",
        "routers bend to a prior, so these figures cannot tell a right prior from a wrong one; compare the "
        "accuracy of runs",
    ]
    if not run.on:
        remarks.append("the prior was off in this stage: this is what is left of it")
    if run.table.header.normal_form != table.header.normal_form:
        remarks.append(
            f"{run.place} was shaped by another prior: what is not attained here may be that one's work"
        )
    pooled = sum(item.attainment.ks is None for item in measured)
    if pooled:
        remarks.append(
            f"{counted(pooled, 'population')} judged by KL alone: the run pooled the scores with others'"
        )
    return remarks


def _where(run: RunRouting) -> str:
    return f"{run.place}, stage {run.stage}" if run.stage else run.place


def _most(name: str) -> Callable[[Attainment], float | None]:
    def largest(found: Attainment) -> float | None:
        values = getattr(found, name)
        return None if values is None else float(values.max())

    return largest


def _largest(
    measured: Iterable[Measured], *measures: tuple[str, Callable[[Attainment], float | None]]
) -> str:
    """` (TVtop at most 0.35)`; empty where nothing was measured."""
    words = []
    for name, measure in measures:
        values = [value for item in measured if (value := measure(item.attainment)) is not None]
        if values:
            words.append(f"{name} at most {_figure(max(values))}")
    return f" ({', '.join(words)})" if words else ""


def _layers(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {index_set(layers)}"


def _experts(experts: NDArray[np.intp]) -> str:
    return f"expert{'s' if len(experts) > 1 else ''} {index_set(experts.tolist())}"


def _vector(values: NDArray[np.float64]) -> str:
    shown = ", ".join(f"{value:.3g}" for value in values[:_NUMBERS_SHOWN])
    return f"({shown}{', …' if len(values) > _NUMBERS_SHOWN else ''})"


def _figure(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.0f}"


def _percent(part: float) -> str:
    return f"{100 * max(part, 0.0):.0f} %"
