"""DeepSpeed's TopKGate: the logits shown are those it computes, before it changes them, and it computes as before."""

from __future__ import annotations

import pytest
import torch
from deepspeed.moe.sharded_moe import TopKGate
from torch import Tensor, nn

from dpsl.routers.deepspeed_moe import find
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter

WIDTH, EXPERTS, TOKENS = 8, 4, 30


def gate_and_router(k: int, **options: object) -> tuple[TopKGate, FoundRouter]:
    torch.manual_seed(0)
    gate = TopKGate(WIDTH, EXPERTS, k, min_capacity=0, **options)
    (router,) = find_routers(nn.ModuleList([gate]))
    return gate, router


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_logits_are_those_of_the_gate(
    k: int, sparse: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit; top2gating adds noise to its own in place."""
    gate, router = gate_and_router(k, capacity_factor=0.5)
    gate.to(dtype)
    assert (router.kind, router.experts, router.top_k) == ("deepspeed-moe", EXPERTS, k)
    computed: list[Tensor] = []
    linear = nn.functional.linear

    def watched(*arguments: object, **options: object) -> Tensor:
        logits = linear(*arguments, **options)
        computed.append(logits.detach().clone())
        return logits

    monkeypatch.setattr(nn.functional, "linear", watched)
    seen: list[tuple[Tensor, ...]] = []
    handle = router.register_forward_hook(lambda _m, _a, output: seen.append(output))
    hidden_NH = torch.randn(TOKENS, WIDTH).to(dtype)
    torch.manual_seed(1)
    hooked = gate(hidden_NH, None, sparse)
    handle.remove()
    torch.manual_seed(1)
    bare = gate(hidden_NH, None, sparse)
    ((logits_NK, combined, indices_Nk),) = seen
    assert torch.equal(logits_NK, computed[0])
    assert logits_NK.requires_grad
    assert combined is (hooked[5] if sparse else hooked[1])
    assert indices_Nk.shape == (TOKENS, k)
    assert bool(((indices_Nk >= 0) & (indices_Nk < EXPERTS)).all())
    for one, other in zip(hooked, bare, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


def test_what_a_hook_returns_takes_the_place_of_the_gates() -> None:
    gate, router = gate_and_router(2)
    router.register_forward_hook(lambda _m, _a, output: (output[0], output[1] * 2, output[2]))
    torch.manual_seed(1)
    doubled = gate(torch.ones(TOKENS, WIDTH), None, True)
    torch.manual_seed(1)
    gate._forward_hooks.clear()
    assert torch.equal(doubled[5], 2 * gate(torch.ones(TOKENS, WIDTH), None, True)[5])


def test_other_modules_are_left_alone() -> None:
    assert list(find(nn.ModuleList([nn.Linear(2, 2)]))) == []
