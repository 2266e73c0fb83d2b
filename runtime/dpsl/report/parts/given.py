"""The page's last chapters: the audit of the routers, the prior, and what the run was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpsl.report.read import RunRecord, number
from priorlang.pages.html import MISSING, Markup, bullets, compact, element, folded, section, table
from priorlang.table.prior_table import UNSHAPED, PriorTable

_MOST_PRIORS = 40
_MOST_NUMBERS = 8


def audit_part(audit: Mapping[str, Any]) -> Markup | None:
    """The routers found at the start of shaping, and what reached them; None where there was no audit."""
    routers = [router for router in _list(audit, "routers") if isinstance(router, Mapping)]
    if not routers:
        return None
    kinds = list(dict.fromkeys(name for router in routers for name in _map(router, "gradient")))
    rows = [
        [
            f"layer {router.get('layer', MISSING)}",
            str(router.get("module", MISSING)),
            *(compact(number(_map(router, "gradient"), name)) for name in kinds),
        ]
        for router in routers
    ]
    coefficients = _map(audit, "coefficients")
    weights = [compact(float(w)) for w in _list(coefficients, "weights") if isinstance(w, int | float)]
    populations = [
        [str(item.get("name", MISSING)), f"{number(item, 'tokens', 0.0):,.0f}"]
        for item in _list(audit, "populations")
        if isinstance(item, Mapping)
    ]
    return section(
        "Audit",
        element(
            "p",
            f"One micro-step at the start of {audit.get('stage', 'shaping')}: norm of the gradient that arrived at each "
            f"router's logits. Effective coefficient of the shaping loss: {', '.join(weights) or MISSING}.",
        ),
        table(["router", "module", *kinds], rows, texts=2),
        folded("Populations in that micro-step", table(["population", "tokens"], populations))
        if populations
        else None,
    )


def given_part(run: RunRecord) -> Markup:
    """The prior, the model, the machine, and the files as they were."""
    return section(
        "What the run was given",
        _prior(run.table) if run.table is not None else element("p", "No prior."),
        folded("The prior's source", element("pre", run.prior_text)) if run.prior_text else None,
        folded("The training file, resolved", element("pre", run.train_text)) if run.train_text else None,
        _environment(run),
    )


def _prior(prior: PriorTable) -> Markup | None:
    experts = prior.header.experts
    rows = []
    for row, (alpha, weight) in enumerate(zip(prior.alpha, prior.weight, strict=True)):
        rules = dict.fromkeys(source.rule for source in prior.header.sources[row])
        cells = prior.row == row
        layers = int(cells.any(1).sum())
        numbers = " ".join(f"{value:.3g}" for value in alpha[:_MOST_NUMBERS])
        numbers += " …" if experts > _MOST_NUMBERS else ""
        rows.append(
            [", ".join(rules) or MISSING, numbers, compact(float(weight)), f"{layers} of {len(prior.layer)}"]
        )
    unshaped = bool((prior.row == UNSHAPED).any())
    schedule = ", ".join(f"{place:g}: {factor:g}" for place, factor in prior.header.schedule)
    parts = [
        f"{experts} experts, top-{prior.header.top_k}, {len(prior.layer)} of {prior.header.layers} layers route.",
        f"Schedule ({prior.header.schedule_unit}: factor): {schedule}." if schedule else "",
        "Some token classes are unshaped." if unshaped else "",
        f"The first {_MOST_PRIORS} of {len(rows)} priors." if len(rows) > _MOST_PRIORS else "",
    ]
    caption = " ".join(part for part in parts if part)
    return table(["rules", "α", "weight λ", "layers"], rows[:_MOST_PRIORS], caption=caption, texts=2)


def _environment(run: RunRecord) -> Markup | None:
    facts = []
    given = _map(run.plan, "model")
    parts = [str(given[key]) for key in ("language_model", "vision_tower") if given.get(key)]
    model = run.plan.get("model_name_or_path") or given.get("config") or " + ".join(parts)
    if model:
        facts.append(f"Model: {model}")
    packages = _map(run.environment, "packages")
    if packages:
        facts.append(", ".join(f"{name} {version}" for name, version in packages.items() if version))
    for key in ("python", "platform", "processes", "started"):
        if key in run.environment:
            facts.append(f"{key}: {run.environment[key]}")
    devices = _list(run.environment, "accelerators")
    if devices or "cpus" in run.environment:
        cpus = f"{run.environment.get('cpus', MISSING)} CPUs"
        facts.append(", ".join([*(str(device) for device in devices), cpus]))
    return bullets(facts)


def _map(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _list(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []
