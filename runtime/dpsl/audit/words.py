"""The audit in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpsl.text_table import format_table, number


def audit_lines(result: Mapping[str, Any]) -> list[str]:
    """What `Audit.finish` returns, as lines to print."""
    names = list(result["routers"][0]["gradient"])
    rows = [
        [f"layer {r['layer']} ({r['module']})", *(number(r["gradient"].get(name, 0.0)) for name in names)]
        for r in result["routers"]
    ]
    lines = [
        "audit: gradient at each router's logits, one micro-step",
        *format_table(["router", *names], rows),
    ]
    if len(rows) > 1 and len(names) > 1:
        lines.append("(task: the task, and what the terms at deeper layers send back through this one)")
    found = result["coefficients"]
    if found["weights"]:
        weights = ", ".join(number(weight) for weight in found["weights"])
        lines.append(f"effective coefficient of the shaping term: {weights}")
    for name, coefficient in found.get("regularizers", {}).items():
        lines.append(f"effective coefficient of {name}: {number(coefficient)}")
    if exchanged := result["bytes_exchanged_per_step"]:
        lines.append(f"each rank exchanges {exchanged:,} bytes of histograms in a step")
    if result["leaf_modules"]:
        lines.append(f"gathered whole under ZeRO-3: {', '.join(result['leaf_modules'])}")
    masks = result["masks"]
    if masks["tokens"]:
        lines.append(f"{masks['tokens']:,} tokens count, {masks['padding']:,} are padding")
    if found["weights"]:
        populations = [[p["name"], f"{p['tokens']:,}"] for p in result["populations"]]
        lines += format_table(["population", "tokens"], populations)
    return lines + [
        f"warning: {warning['place']}: {warning['message']}; {warning['fix']}"
        for warning in result["warnings"]
    ]
