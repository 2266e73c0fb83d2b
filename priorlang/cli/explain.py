"""`priorlang explain FILE --at "modality=vision layer=5"`"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from priorlang.cli.options import always_quiet_option, format_option, given_by, model_option, set_option
from priorlang.cli.output import fail, write_json
from priorlang.diagnostics.finding import PriorError
from priorlang.diagnostics.machine import span_json
from priorlang.semantics.exact import decimal_text, rounded

if TYPE_CHECKING:
    from priorlang.table.explain import Explanation, Step

StepValue = Fraction | dict[int, Fraction] | tuple[Fraction, ...] | str | None


@click.command("explain")
@click.argument("file")
@click.option(
    "--at",
    "cell",
    required=True,
    metavar="CELL",
    help="As 'modality=vision task=ocr layer=5'; a name with spaces is quoted: 'dataset=\"my set\" layer=5'.",
)
@click.option("--why-not", "rule", metavar="RULE", help="Say why this rule does not act on the cell.")
@format_option
@set_option
@model_option
@always_quiet_option
def command(
    file: str,
    cell: str,
    rule: str | None,
    output_format: str,
    settings: tuple[str, ...],
    model_config: str | None,
) -> None:
    """Say why a cell, a layer and a token class, asks for what it asks for."""
    from priorlang.phases import Prior
    from priorlang.settings import parse_settings
    from priorlang.table.cell_text import parse_cell
    from priorlang.table.explain import explain, why_not

    try:
        prior = Prior.read(file, parse_settings(settings), given_by(model_config))
        layer, members = parse_cell(prior.spec, cell)
        cells = prior.cells
        assert cells is not None
        explanation = explain(cells, prior.table, layer, members)
        answer = why_not(prior.spec, layer, members, rule) if rule is not None else None
    except PriorError as error:
        fail(error, {"--at": cell, "--why-not": rule or ""})
    if output_format == "json":
        document = _json(explanation)
        write_json(document if answer is None else {**document, "why_not": {"rule": rule, "answer": answer}})
    else:
        click.echo(_human(explanation, prior.spec.model.top_k) + (f"\n\n{answer}" if answer else ""))


def _json(explanation: Explanation) -> dict[str, Any]:
    prior = explanation.prior
    return {
        "cell": {"layer": explanation.layer, **explanation.members},
        "alpha": list(explanation.alpha) if prior else None,
        "mean": list(explanation.mean) if prior else None,
        "weight": rounded(prior.weight) if prior else None,
        "unshaped": prior is None,
        "population": explanation.population,
        "top_k_probability": list(explanation.top_k_probability) if prior else None,
        "derivation": [
            {
                "rule": step.rule,
                "effect": step.effect,
                "value": _json_value(step.value),
                "span": span_json(step.span),
            }
            for step in explanation.derivation
        ],
        "overridden": [rule for rule, _ in explanation.overridden],
    }


def _json_value(value: StepValue) -> object:
    if isinstance(value, Fraction):
        return rounded(value)
    if isinstance(value, dict):
        return {str(expert): rounded(amount) for expert, amount in value.items()}
    return value


def _human(explanation: Explanation, top_k: int) -> str:
    members = ", ".join(f"{name} {member}" for name, member in explanation.members.items())
    lines = [f"layer {explanation.layer}" + (f", {members}" if members else "")]
    width = max((len(step.rule) for step in explanation.derivation), default=0)
    for step in explanation.derivation:
        lines.append(f"  {step.rule:<{width}}  {_human_step(step)}  ({step.span})")
    for rule, silencers in explanation.overridden:
        lines.append(f"  {rule:<{width}}  silenced by {', '.join(silencers)}")
    if explanation.prior is None:
        return "\n".join([*lines, "", "unshaped: the loss leaves these tokens alone"])
    lines += ["", f"λ = {decimal_text(explanation.prior.weight)}   population: {explanation.population}", ""]
    lines.append(f"  expert    α     mean   P(in top {top_k})")
    rows = zip(explanation.prior.alpha, explanation.mean, explanation.top_k_probability, strict=True)
    for expert, (alpha, mean, enters) in enumerate(rows):
        lines.append(f"  {expert:>6} {decimal_text(alpha):>6} {mean:>8.3f} {enters:>8.3f}")
    return "\n".join(lines)


def _human_step(step: Step) -> str:
    from priorlang.semantics.describe import index_set

    value = step.value
    if isinstance(value, dict):
        amounts = set(value.values())
        if len(amounts) == 1:
            return f"{step.effect} {index_set(value)} by {decimal_text(amounts.pop())}"
        return f"{step.effect} ({', '.join(decimal_text(amount) for amount in value.values())})"
    if isinstance(value, Fraction):
        return f"{step.effect} {decimal_text(value)}"
    return f"{step.effect} by {value}" if value else step.effect
