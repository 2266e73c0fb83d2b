"""What experts begin as: parts of the dense FFN, drawn anew, scaled, and under which router that is the dense one."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import dense
from torch import Tensor, nn

import dpsl
from dpsl.upcycle.block import Router, UpcycledMoE
from dpsl.upcycle.ffn import GatedWeights, weights_of
from dpsl.upcycle.reinitialize import reinitialize

FAMILIES = ("Llama", "Qwen2", "Phi3")
WIDTH = 48


def seeded(family: str = "Llama", **options: object) -> nn.Module:
    torch.manual_seed(0)
    return dense(family, num_hidden_layers=1, **options).double().eval()


def ffn_and_block(
    family: str, model_options: dict[str, object] | None = None, **options: object
) -> tuple[nn.Module, UpcycledMoE]:
    model = seeded(family, **(model_options or {}))
    for bias in [p for name, p in model.named_parameters() if name.endswith("proj.bias") and ".mlp." in name]:
        nn.init.normal_(bias, std=0.1)
    ffn = copy.deepcopy(model.model.layers[0].mlp)
    dpsl.upcycle(model, **options)
    return ffn, model.model.layers[0].mlp


def hidden(seed: int = 0) -> Tensor:
    return torch.randn(40, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, object]:
    """Granularity, replicas and whole FFNs chosen, with the choices that keep the theorems true."""
    granularity = draw(st.sampled_from([1, 2, 3, 4, 6, 8]))
    replicas = draw(st.integers(1 if granularity > 1 else 2, 4))
    whole = draw(st.integers(1, replicas))
    return {
        "granularity": granularity,
        "experts": granularity * replicas,
        "top_k": granularity * whole,
        "renormalize": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@settings(max_examples=25, deadline=None)
@given(shapes(), st.booleans(), st.sampled_from(FAMILIES))
def test_virtual_groups_choose_whole_ffns_and_preserve_keeps_the_function(
    shape: dict[str, object], shared: bool, family: str
) -> None:
    ffn, block = ffn_and_block(family, noise=0.0, scale="preserve", shared_expert=shared, **shape)
    parts = block.granularity
    tokens = hidden()
    _, gates, chosen = block.router(tokens)
    groups = (chosen // parts).sort(-1).values.unflatten(-1, (-1, parts))
    assert torch.equal(groups, groups[..., :1].expand_as(groups))
    assert torch.equal(
        (chosen % parts).sort(-1).values,
        torch.arange(parts).repeat_interleave(chosen.shape[1] // parts).expand_as(chosen),
    )
    assert torch.allclose(block(tokens), ffn(tokens), rtol=1e-10, atol=1e-14)
    assert gates.shape == (40, shape["top_k"])


@settings(max_examples=15, deadline=None)
@given(shapes(), st.sampled_from(FAMILIES))
def test_scaled_down_is_exact_under_uniform_probabilities(shape: dict[str, object], family: str) -> None:
    ffn, block = ffn_and_block(family, noise=0.0, scale="he-down", shared_expert=False, **shape)
    for row in block.router.weight.data.view(-1, block.granularity, 32):
        row.copy_(row[:1] * 1e-9)
    assert torch.allclose(block(hidden()), ffn(hidden()), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("renormalize", "factor"), [(False, 2 * 4**2 / 4), (True, 4)])
def test_the_published_scales(renormalize: bool, factor: float) -> None:
    """He et al.: R·G²/k for softmax then top-k, G for top-k then softmax; the cube root on each matrix."""
    options = {"experts": 8, "granularity": 4, "top_k": 4, "noise": 0.0, "renormalize": renormalize}
    ffn, block = ffn_and_block("Llama", scale="he", **options)
    whole, part = weights_of(ffn), weights_of(block.experts[1])
    rows = slice(12, 24)
    third = factor ** (1 / 3)
    assert torch.allclose(part.gate_FH, whole.gate_FH[rows] * third)
    assert torch.allclose(part.up_FH, whole.up_FH[rows] * third)
    assert torch.allclose(part.down_HF, whole.down_HF[:, rows] * third)
    assert torch.equal(weights_of(block.shared_expert).down_HF, whole.down_HF)


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_add_up_to_the_whole(family: str) -> None:
    options = {} if family != "Llama" else {"mlp_bias": True}
    ffn, block = ffn_and_block(family, options, experts=8, granularity=4, top_k=4, noise=0.0)
    for replica in (0, 4):
        total = sum(expert(hidden()) for expert in block.experts[replica : replica + 4])
        assert torch.allclose(total, ffn(hidden()), rtol=1e-10, atol=1e-14)


def test_eight_in_sixteen_has_the_parameters_of_two_in_four() -> None:
    counts = []
    for shape in ({"experts": 4, "top_k": 2}, {"experts": 16, "top_k": 8, "granularity": 4}):
        receipt = dpsl.upcycle(seeded(), **shape)
        routers = shape["experts"] * 32
        counts.append((receipt.parameters_after - routers, receipt.active_parameters - routers))
    assert counts[0] == counts[1]


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 0.99), st.booleans(), st.sampled_from(FAMILIES), st.sampled_from([1, 2, 4]))
def test_drop_replaces_a_share_of_the_width(
    ratio: float, shared: bool, family: str, granularity: int
) -> None:
    ffn, block = ffn_and_block(
        family, method="drop", experts=8, top_k=4, granularity=granularity, drop_ratio=ratio,
        drop_indices="shared" if shared else "per-matrix",
    )  # fmt: skip
    width = WIDTH // granularity
    whole, chosen = weights_of(ffn), []
    for index, expert in enumerate(block.experts):
        new = weights_of(expert)
        rows = slice((index % granularity) * width, (index % granularity + 1) * width)
        gate = (new.gate_FH != whole.gate_FH[rows]).all(1)
        up = (new.up_FH != whole.up_FH[rows]).all(1)
        down = (new.down_HF != whole.down_HF[:, rows]).all(0)
        assert gate.sum() == up.sum() == down.sum() == int(ratio * width)
        assert torch.equal(new.gate_FH[~gate], whole.gate_FH[rows][~gate])
        assert torch.equal(new.down_HF[:, ~down], whole.down_HF[:, rows][:, ~down])
        assert not shared or (torch.equal(gate, up) and torch.equal(up, down))
        chosen.append(gate)
    assert torch.equal(weights_of(block.shared_expert).gate_FH, whole.gate_FH)
    if 8 < ratio * width < width - 8:
        assert not all(torch.equal(chosen[0], other) for other in chosen[granularity::granularity])


def test_per_matrix_indices_differ() -> None:
    _, block = ffn_and_block("Llama", method="drop", drop_indices="per-matrix")
    ffn, _ = ffn_and_block("Llama")
    new, old = weights_of(block.experts[0]), weights_of(ffn)
    gate, up = (new.gate_FH != old.gate_FH).all(1), (new.up_FH != old.up_FH).all(1)
    assert not torch.equal(gate, up)


def test_what_is_drawn_anew_has_the_moments_of_what_was_there() -> None:
    generator = torch.Generator().manual_seed(0)
    gate = torch.randn(400, 300, generator=generator) * 0.3 + 0.7
    up, down = gate * 2, (gate.T * 0.1).contiguous()
    weights = GatedWeights(gate, up, down)
    reinitialize(weights, 0.5, torch.Generator().manual_seed(1))
    for tensor, factor in ((gate, 1.0), (up, 2.0), (down, 0.1)):
        assert tensor.mean() == pytest.approx(0.7 * factor, rel=0.02)
        assert tensor.std() == pytest.approx(0.3 * factor, rel=0.02)


@pytest.mark.parametrize(("experts", "granularity", "ratio"), [(4, 1, 0.5), (8, 1, 0.5), (16, 4, 0.2)])
def test_drop_ratios_of_the_paper(experts: int, granularity: int, ratio: float) -> None:
    model = seeded()
    dpsl.upcycle(model, method="drop", experts=experts, top_k=experts // 2, granularity=granularity)
    assert model.config.upcycled["drop_ratio"] == ratio
    assert model.config.upcycled["noise"] == 0.0


def test_routers() -> None:
    shape = {"experts": 16, "granularity": 4, "top_k": 8}
    rows = ffn_and_block("Qwen2", **shape)[1].router.weight.detach().view(4, 4, 32)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    assert len({float(row[0, 0]) for row in rows}) == 4
    free = ffn_and_block("Qwen2", router="normal", router_std=0.5, **shape)[1].router.weight.detach()
    assert len(free.unique()) == free.numel()
    assert free.std() == pytest.approx(0.5, rel=0.15)
    assert not ffn_and_block("Qwen2", router="zeros", **shape)[1].router.weight.any()


@pytest.mark.parametrize("method", ["sparse", "drop"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_is_the_same_whichever_others_are_upcycled(family: str, method: str) -> None:
    blocks = []
    for layers in ("all", [1]):
        torch.manual_seed(0)
        model = dense(family)
        dpsl.upcycle(model, method=method, layers=layers, seed=3)
        blocks.append(model.model.layers[1].mlp.state_dict())
    assert all(torch.equal(blocks[0][name], blocks[1][name]) for name in blocks[0])


@pytest.mark.parametrize("balanced", [False, True])
def test_groups_that_tie_are_not_chosen_by_halves(balanced: bool) -> None:
    """In bf16 two groups often have one logit; a choice among their equal parts must take whole groups."""
    like = torch.empty(1, dtype=torch.bfloat16)
    router = Router(8, 16, 8, like=like, granularity=4)
    router.weight.data.copy_(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(4, 0)
    )
    if balanced:
        router.add_selection_bias()
    tokens = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    logits, gates, chosen = router(tokens)
    groups = (chosen // 4).sort(-1).values.unflatten(-1, (-1, 4))
    by_group = logits.view(-1, 4, 4)[..., 0].sort(-1, descending=True).values
    assert (by_group[:, 1] == by_group[:, 2]).sum() >= 5
    assert torch.equal(groups, groups[..., :1].expand_as(groups))
    assert torch.equal(gates, logits.float().softmax(-1).gather(-1, chosen).to(torch.bfloat16))


RECEIPTS: dict[str, tuple[dict[str, object], str]] = {
    "as it is": ({}, "1 + Σ gates times"),
    "alone": ({"shared_expert": False}, "Σ gates times"),
    "renormalised": ({"shared_expert": False, "renormalize": True}, "equal to the dense output"),
    "preserved": ({"scale": "preserve"}, "equal to the dense output"),
    "parts": ({"granularity": 4, "experts": 16, "top_k": 8}, "1 + Σ gates / 4 times"),
    "parts, preserved": (
        {"granularity": 4, "experts": 16, "top_k": 8, "scale": "preserve"},
        "equal to the dense output",
    ),
    "parts, down scaled": (
        {"granularity": 4, "experts": 16, "top_k": 8, "scale": "he-down", "shared_expert": False},
        "8 · Σ gates / 4 times the dense output, and equal to it under uniform probabilities",
    ),
    "parts, down scaled, renormalised": (
        {
            "granularity": 4,
            "experts": 16,
            "top_k": 8,
            "scale": "he-down",
            "shared_expert": False,
            "renormalize": True,
        },
        "equal to the dense output",
    ),
    "parts, down scaled, shared": (
        {"granularity": 2, "experts": 8, "top_k": 4, "scale": "he-down"},
        "1 + 4 · Σ gates / 2 times",
    ),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", RECEIPTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_receipt_holds_blocks_to_theory(family: str, case: str, dtype: torch.dtype) -> None:
    options, theory = RECEIPTS[case]
    torch.manual_seed(0)
    receipt = dpsl.upcycle(dense(family).to(dtype), noise=0.0, **options)
    assert receipt.theory.startswith(theory)
    assert receipt.holds, receipt
    assert receipt.theory_error < 8 * torch.finfo(dtype).eps
    assert "; holds, relative error" in receipt.lines()[-1]
    equal = receipt.largest_difference <= 0.1 * receipt.largest_output
    assert equal == (receipt.theory == "equal to the dense output" or "renormalised" in case)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "there is noise"),
        ({"method": "drop"}, "values are drawn anew"),
        ({"noise": 0.0, "scale": "he", "top_k": 1}, "approximate"),
        ({"noise": 0.0, "granularity": 2, "router": "normal"}, "chosen one by one"),
    ],
)
def test_where_theory_is_silent_the_difference_is_told(options: dict[str, object], reason: str) -> None:
    receipt = dpsl.upcycle(seeded(), **options)
    assert receipt.theory.startswith("none: ")
    assert reason in receipt.theory
    assert receipt.holds is None
    assert receipt.largest_difference > 0
    assert "DOES NOT" not in " ".join(receipt.lines())


def test_a_block_that_is_not_what_it_should_be_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpsl.upcycle.fill.scale_weights", lambda *_: None)
    receipt = dpsl.upcycle(seeded(), noise=0.0, shared_expert=False, scale="he-down", top_k=1)
    assert receipt.holds is False
    assert "DOES NOT HOLD" in receipt.lines()[-1]
