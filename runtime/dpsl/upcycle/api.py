"""`dpsl.upcycle`: a dense model becomes a mixture of experts, in place, with a receipt."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.block import block_like
from dpsl.upcycle.branches import RunningMean, as_list, name_of, names_of
from dpsl.upcycle.classes import become_upcycled, upcycled_class
from dpsl.upcycle.decoder import decoder_layers, dense_ffns
from dpsl.upcycle.ffn import weights_of, width_of
from dpsl.upcycle.fill import fill_replica, fill_shared, layer_generator, start_router
from dpsl.upcycle.finite import check_finite
from dpsl.upcycle.plan import UpcyclePlan, plan_of, resolved
from dpsl.upcycle.receipt import Receipt, check_block, make_receipt
from dpsl.upcycle.router_copies import copied_routers
from dpsl.upcycle.storage import load_model


def upcycle(
    model: nn.Module,
    method: str = "sparse",
    experts: int = 4,
    top_k: int = 2,
    granularity: int = 1,
    shared_expert: bool = True,
    noise: float | None = None,
    scale: str | None = None,
    layers: str | Sequence[int] = "all",
    seed: int = 0,
    *,
    renormalize: bool = False,
    drop_ratio: float | None = None,
    drop_indices: str = "shared",
    router: str | None = None,
    router_from: str | Path | nn.Module | None = None,
    router_std: float = 0.02,
    branches: str | Path | nn.Module | Sequence[str | Path | nn.Module] = (),
) -> Receipt:
    """Replace dense FFNs by mixtures of experts, in place.

    The model's config keeps the plan under `upcycled`: `model.save_pretrained(folder)` saves all there is,
    and `dpsl.upcycle.load_model(folder)` reads it back.

    Args:
        model: a transformers model with a Llama, Qwen2 or Phi3 decoder, alone or inside a multimodal model.
        method: how experts come from the dense FFN; `sparse`: copies plus noise; `drop`: copies, a part of each
            drawn anew (Drop-Upcycling); `btx`: the FFNs of several dense models (Branch-Train-MiX).
        experts: experts in a layer.
        top_k: experts a token uses.
        granularity: parts G that the dense FFN is cut into, d_ff / d_expert; experts is a multiple of it.
        shared_expert: keep the dense FFN as an expert that sees every token.
        noise: standard deviation of the noise on the copies; by default 0.01 for sparse and 0 otherwise.
        scale: None, the paper's unnormalised sum (Eq. 5); "preserve": divided by the whole FFNs that its
            coefficients add up to, which keeps the dense model's function; "he": experts' weights × s^(1/3);
            "he-down": their down projections × s, exact under uniform probabilities (He et al., 2410.07524).
        layers: `all`, `every-other`, `first-half`, or decoder-layer indices.
        seed: of noise and routers; the global random state is neither used nor changed.
        renormalize: divide the gates of the chosen experts by their sum.
        drop_ratio: share of each expert's width drawn anew; by default 0.5 up to 8 experts, 0.2 above.
        drop_indices: "shared" by gate, up and down (the paper), or "per-matrix" (its released code).
        router: "normal", "zeros", or "virtual-group": one random row for each whole FFN, so that its parts are
            chosen together; by default virtual-group where experts are parts, normal otherwise.
        router_from: a model with experts, or its folder, whose routers' weights are copied layer by layer.
        router_std: standard deviation of the routers' weights.
        branches: for btx, one dense model or its folder for each R = experts / granularity. All that is no expert
            becomes their mean, and `model` lends its architecture alone.

    Raises:
        UpcycleError: an argument or the model cannot be used; it is then unchanged. All arguments that cannot be are
            named at once.
    """
    ffns = dense_ffns(model)
    given = as_list(branches)
    asked = plan_of({
        "method": method, "experts": experts, "top_k": top_k, "granularity": granularity,
        "shared_expert": shared_expert, "noise": noise, "scale": scale, "layers": layers, "seed": seed,
        "renormalize": renormalize, "drop_ratio": drop_ratio, "drop_indices": drop_indices, "router": router,
        "router_from": name_of(router_from), "router_std": router_std, "branches": names_of(given),
    })  # fmt: skip
    upcycled_class(model)
    plan = resolved(asked, {index: width_of(ffn) for index, ffn in ffns.items()})
    _check_weights(model, plan)
    routers = copied_routers(router_from, plan, ffns) if router_from is not None else {}

    before = count(model)
    blocks = {index: block_like(ffns[index], plan.to_config()) for index in plan.routed}
    generators = {index: layer_generator(plan, index) for index in plan.routed}
    for index, block in blocks.items():
        start_router(block.router, plan, generators[index], routers.get(index))
    for replica, source in enumerate(_sources(model, given, plan)):
        for index, block in blocks.items():
            fill_replica(block, replica, dense_ffns(source)[index], plan, generators[index])

    decoder: Any = decoder_layers(model)
    checks = []
    for index, block in blocks.items():
        fill_shared(block, ffns[index])
        checks.append(check_block(ffns[index], block, plan, index))
    for index, block in blocks.items():
        decoder[index].mlp = block
    become_upcycled(model, plan.to_config())
    inactive = sum((plan.experts - plan.top_k) * count(block.experts[0]) for block in blocks.values())
    return make_receipt(plan, checks, before, count(model), inactive)


def count(module: nn.Module) -> int:
    """The parameters of a module, those that are tied once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _sources(
    model: nn.Module, branches: Sequence[str | Path | nn.Module], plan: UpcyclePlan
) -> Iterator[nn.Module]:
    """The dense model of each replica; at the end of branches, `model` becomes their mean."""
    if not branches:
        yield from itertools.repeat(model, plan.replicas)
        return
    mean = RunningMean(model)
    for branch in branches:
        dense = branch if isinstance(branch, nn.Module) else load_model(branch, dtype="auto")
        mean.add(name_of(branch), dense)
        yield dense
    mean.write()


def _check_weights(model: nn.Module, plan: UpcyclePlan) -> None:
    """Refuse weights that are elsewhere, quantized, or not finite; for branches those of `model` are not used."""
    name = type(model).__name__
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        raise UpcycleError(
            name,
            "its parameters are already partitioned by ZeRO-3",
            "upcycle before DeepSpeed takes the model over",
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UpcycleError(name, "its weights are not loaded (meta device)", "load them with from_pretrained")
    ffns = dense_ffns(model)
    for layer in plan.routed:
        if not all(weight.is_floating_point() for weight in weights_of(ffns[layer]).all()):
            raise UpcycleError(
                name, f"the FFN of layer {layer} is quantized", "upcycle a model in bf16, fp16 or fp32"
            )
    if plan.method != "btx":
        check_finite(dict(model.named_parameters()), name)
