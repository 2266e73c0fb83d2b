"""The audit says what arrives, and stops each way in which a router loss vanishes without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from tables import modality_table, symmetric_table
from tiny_models import EXPERTS, LAYERS, TOP_K, batch, tiny
from torch import Tensor, nn

import dpsl
from dpsl.audit import Audit, AuditError, audit_lines
from dpsl.errors import AttachError
from dpsl.regularizers import ZLoss, attach_regularizers
from dpsl.routers.found import FoundRouter


def micro_step(
    model: nn.Module, shaper: dpsl.Shaper, divide: int = 1, *, told: bool = True, modality: str = "vision"
) -> None:
    inputs = batch()
    names = {} if not shaper.table.header.attributes else {"modality": modality}
    with shaper.tokens(mask=inputs["attention_mask"] if told else None, **names):
        loss = model(**inputs).loss
    (loss / divide).backward()


def test_what_arrives_at_each_router() -> None:
    model, table = tiny("mixtral"), modality_table(LAYERS)
    shaper = dpsl.attach(model, table)
    regularizers = attach_regularizers(model, [ZLoss(coefficient=0.02)])
    audit = Audit(model, shaper, regularizers)
    inputs = batch()
    mask, modality = inputs["attention_mask"], torch.arange(inputs["input_ids"].shape[1]) % 2
    with (
        shaper.tokens(mask=mask, modality=modality.expand_as(mask)),
        regularizers.tokens(mask=mask),
    ):
        loss = model(**inputs).loss
    (loss / 4).backward()
    result = audit.finish(4)
    plain = tiny("mixtral")
    captured: list[Tensor] = []
    for layer in plain.model.layers:
        layer.mlp.gate.register_forward_hook(lambda _m, _a, output: captured.append(output[0]))
    (plain(**inputs).loss / 4).backward(inputs=captured)
    # Below the last layer it is more than the task: the prior on layer 1 reaches back through layer 0.
    assert result["routers"][-1]["gradient"]["task"] == pytest.approx(
        float(captured[-1].grad.norm()), rel=1e-3
    )
    arrivals = {arrival.layer: arrival for arrival in shaper.arrivals()}
    for router in result["routers"]:
        gradient = router["gradient"]
        assert gradient["task"] > 0
        assert gradient["dpsl"] == pytest.approx(arrivals[router["layer"]].gradient_norm, rel=1e-5)
        assert gradient["z_loss"] > 0
    assert result["coefficients"]["weights"] == pytest.approx([0.02, 0.1])
    assert result["coefficients"]["regularizers"] == {"z_loss": pytest.approx(0.02)}
    assert result["masks"] == {"tokens": int(mask.sum()), "padding": int((mask == 0).sum())}
    assert sum(population["tokens"] for population in result["populations"]) == LAYERS * int(mask.sum())
    assert result["warnings"] == result["blocks_without_router"] == result["leaf_modules"] == []
    said = "\n".join(audit_lines(result))
    assert "layer 0 (model.layers.0.mlp.gate)" in said
    assert "effective coefficient of z_loss: 0.02" in said
    assert f"{int(mask.sum())} tokens count, {int((mask == 0).sum())} are padding" in said


def test_a_loss_that_is_not_divided_by_accumulation() -> None:
    model = tiny("mixtral")
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    micro_step(model, shaper)
    (warning,) = audit.finish(4)["warnings"]
    assert warning["message"] == "an optimizer step counts the prior 4 times"


def test_a_population_that_is_not_there() -> None:
    model = tiny("mixtral")
    shaper = dpsl.attach(model, modality_table(LAYERS))
    audit = Audit(model, shaper)
    micro_step(model, shaper)
    (warning,) = audit.finish()["warnings"]
    assert warning["message"] == "no token of layer 0 · prior 1 and 1 more in this micro-step"


def test_padding_that_the_shaper_was_not_told_of() -> None:
    model = tiny("mixtral")
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    micro_step(model, shaper, told=False)
    with pytest.raises(AuditError, match="4 tokens that are padding to the model count to the shaper"):
        audit.finish()


@pytest.mark.parametrize("wrong", [lambda mask: mask == 0, lambda mask: mask.flip(0)])
def test_a_mask_that_is_another(wrong: Callable[[Tensor], Tensor]) -> None:
    model, inputs = tiny("mixtral"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    with shaper.tokens(mask=wrong(inputs["attention_mask"])):
        model(**inputs).loss.backward()
    with pytest.raises(AuditError, match="padding to the model count to the shaper"):
        audit.finish()


def test_nothing_attached() -> None:
    with pytest.raises(AttachError, match="give a shaper, regularizers or both"):
        Audit(tiny("mixtral"))


def test_a_frozen_router() -> None:
    model = tiny("mixtral")
    for layer in model.model.layers:
        layer.mlp.gate.requires_grad_(False)
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    micro_step(model, shaper)
    with pytest.raises(AuditError, match=r"layer 0 .*this router is frozen"):
        audit.finish()


def test_reentrant_checkpointing_that_nothing_runs_back_through() -> None:
    """Nothing below the checkpoints learns, and nobody asked inputs to require gradients: torch drops it all."""
    model = tiny("mixtral")
    model.model.embed_tokens.requires_grad_(False)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    model.disable_input_require_grads() if hasattr(model, "_require_grads_hook") else None
    model.train()
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    micro_step(model, shaper)
    with pytest.raises(AuditError, match="its logits carry no gradient"):
        audit.finish()


def test_a_term_that_reaches_nothing() -> None:
    """A mask of zeros, as a collator that inverts it would give: the task learns on, the term does not."""
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [ZLoss(coefficient=1e-3)])
    audit = Audit(model, regularizers=regularizers)
    inputs = batch()
    with regularizers.tokens(mask=torch.zeros_like(inputs["attention_mask"])):
        model(**inputs).loss.backward()
    with pytest.raises(AuditError, match=r"regularizers: z_loss.*arrives at no router"):
        audit.finish()


def test_a_term_whose_schedule_has_not_begun() -> None:
    model = tiny("mixtral")
    regularizers = attach_regularizers(model, [ZLoss(coefficient=1e-3, schedule=((0.0, 0.0), (0.5, 1.0)))])
    regularizers.set_progress(0, 10)
    audit = Audit(model, regularizers=regularizers)
    inputs = batch()
    with regularizers.tokens(mask=inputs["attention_mask"]):
        model(**inputs).loss.backward()
    assert audit.finish()["routers"][0]["gradient"]["z_loss"] == 0


class _Block(nn.Module):
    """Experts behind a gate, which is used in one of the ways that go wrong."""

    def __init__(self, use: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.gate = nn.Linear(8, EXPERTS, bias=False)
        self.experts = nn.ModuleList([nn.Linear(8, 8) for _ in range(EXPERTS)])
        self.use = use

    def forward(self, hidden_NH: Tensor) -> Tensor:
        weight_NK = self.use(self.gate, hidden_NH)
        outputs = torch.stack([expert(hidden_NH) for expert in self.experts], 1)
        return (weight_NK[..., None] * outputs).sum(1)


class _Model(nn.Module):
    def __init__(self, uses: Sequence[Callable[[nn.Linear, Tensor], Tensor]]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([_Block(use) for use in uses])

    def forward(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            hidden_NH = hidden_NH + layer(hidden_NH)
        return {"loss": hidden_NH.square().mean()}


def _rightly(gate: nn.Linear, hidden: Tensor) -> Tensor:
    return gate(hidden).softmax(-1)


def audited(use: Callable[[nn.Linear, Tensor], Tensor]) -> dict[str, Any]:
    """The audit of a model whose last gate is used like that."""
    model = _Model([_rightly] * (LAYERS - 1) + [use])
    routers = [
        FoundRouter(f"layers.{place}.gate", layer.gate, place, EXPERTS, TOP_K, 0, "own")
        for place, layer in enumerate(model.layers)
    ]
    shaper = dpsl.attach(model, symmetric_table(), routers=routers)
    audit = Audit(model, shaper)
    with shaper.tokens():
        model(torch.randn(20, 8))["loss"].backward()
    return audit.finish()


def test_a_gate_used_as_it_should_be() -> None:
    result = audited(_rightly)
    assert result["warnings"] == []


def test_a_gate_of_which_only_the_weight_is_used() -> None:
    with pytest.raises(AuditError, match="its forward was never called"):
        audited(lambda gate, hidden: nn.functional.linear(hidden, gate.weight).softmax(-1))


def test_a_gate_under_no_grad() -> None:
    def use(gate: nn.Linear, hidden: Tensor) -> Tensor:
        with torch.no_grad():
            return gate(hidden).softmax(-1)

    with pytest.raises(AuditError, match="its logits carry no gradient"):
        audited(use)


def test_a_gate_whose_output_is_detached() -> None:
    with pytest.raises(AuditError, match="no gradient arrives at this router"):
        audited(lambda gate, hidden: gate(hidden).detach().softmax(-1))


def test_logits_that_are_not_numbers() -> None:
    with pytest.raises(AttachError, match=r"layer 1 .*20 token\(s\) held NaN or infinity"):
        audited(lambda gate, hidden: gate(hidden * torch.nan).softmax(-1))


def test_experts_whose_router_was_not_found() -> None:
    model = tiny("mixtral")
    model.model.layers[1].extra = _Block(_rightly)
    model.branch = _Block(_rightly)
    shaper = dpsl.attach(model, symmetric_table())
    audit = Audit(model, shaper)
    micro_step(model, shaper)
    result = audit.finish()
    assert result["blocks_without_router"] == ["branch"]
    assert [warning["place"] for warning in result["warnings"]] == ["branch"]
