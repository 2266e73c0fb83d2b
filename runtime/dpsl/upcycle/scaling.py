"""Weight scaling (He et al., 2410.07524): gates that add up to less than one, made up for in the weights."""

from __future__ import annotations

from dpsl.upcycle.ffn import GatedWeights
from dpsl.upcycle.plan import UpcyclePlan


def scale_factor(plan: UpcyclePlan) -> float:
    """s, by which the routed sum falls short of one dense FFN under uniform probabilities.

    With a softmax over all N = R·G experts each gate is 1/(R·G), and k of them make k/G whole FFNs: s = R·G²/k.
    Renormalised over the chosen (a softmax after the choice) each gate is 1/k: s = G.
    """
    if plan.renormalize:
        return float(plan.granularity)
    return plan.replicas * plan.granularity**2 / plan.top_k


def scale_weights(expert: GatedWeights, plan: UpcyclePlan) -> None:
    """Scale an expert as `plan.scale` says.

    `he`: gate, up and down by s^(1/3) each, as published for GLUs. The activation is not homogeneous, so that is
    approximate. `he-down`: down alone by s, exact under uniform probabilities.
    """
    factor = scale_factor(plan)
    if plan.scale == "he-down":
        expert.down_HF.mul_(factor)
    elif plan.scale == "he":
        for weight in (expert.gate_FH, expert.up_FH, expert.down_HF):
            weight.mul_(factor ** (1 / 3))
        for bias in (expert.gate_F, expert.up_F):
            if bias is not None:
                bias.mul_(factor ** (1 / 3))
    if plan.scale in ("he", "he-down") and expert.down_H is not None:
        expert.down_H.mul_(factor)
