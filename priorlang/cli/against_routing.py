"""`--routing RUN` of `validate`: a prior held to what a run measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from priorlang.diagnostics.finding import Finding, PriorError

if TYPE_CHECKING:
    from priorlang.checks.routing import Measured
    from priorlang.phases import Prior


def hold_to_routing(prior: Prior, run: str) -> tuple[list[Finding], str, dict[str, Any] | None]:
    """The findings about a sound prior, remarks for people, and a document of every figure.

    A run that cannot be read, or that does not fit the prior, is a finding too, without a document.
    """
    from priorlang.checks.routing import check_routing
    from priorlang.routing.run import read_run_routing
    from priorlang.semantics.allow import idle, silenced

    try:
        routing = read_run_routing(run)
        found = check_routing(prior.spec, prior.table, routing)
    except PriorError as error:
        return list(error.findings), "", None
    judged = frozenset({"not-attained" if routing.shaped else "prior-mismatch"})
    kept = [finding for finding in found.findings if not silenced(prior.spec, finding)]
    kept += idle(prior.spec, list(found.findings), judged, "the routing of this run")
    document = {
        "run": routing.place,
        "stage": routing.stage,
        "shaped": routing.shaped,
        "populations": [_population_json(item) for item in found.measured],
        "remarks": list(found.remarks),
    }
    return kept, "\n".join(found.remarks), document


def _population_json(item: Measured) -> dict[str, Any]:
    found = item.attainment
    return {
        "layer": item.population.layer,
        "tokens_of": item.population.name,
        "tokens": item.population.tokens,
        "flagged": item.flagged,
        "alpha": item.alpha.tolist(),
        "fitted": found.fitted.tolist(),
        "top_share": found.top_share.tolist(),
        "top_asked": found.top_asked.tolist(),
        "tv_top": found.tv_top,
        "ks": None if found.ks is None else found.ks.tolist(),
        "rms": None if found.rms is None else found.rms.tolist(),
        # Strict JSON has no infinity.
        "kl": found.kl if found.kl < float("inf") else None,
    }
