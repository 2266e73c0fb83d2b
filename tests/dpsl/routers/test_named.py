"""Routers that a user names: globs, gates of every shape, and mistakes that are told as such."""

from __future__ import annotations

import pytest
import torch
from explicit import MicroBatch, population_terms
from tables import modality_table
from tiny_models import EXPERTS, LAYERS, TOP_K, tiny
from torch import Tensor, nn

import dpsl
from dpsl.errors import AttachError
from dpsl.routers.find import find_routers
from priorlang.table.prior_table import PriorTable
from tests.dpsl.gradients import gradients

WIDTH = 12


class TupleGate(nn.Module):
    """Returns weights, chosen experts and logits, in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(WIDTH, EXPERTS)

    def forward(self, hidden_BSH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.proj(hidden_BSH)
        weights, chosen = logits.softmax(-1).topk(TOP_K)
        return weights, chosen, logits


class Probabilities(nn.Linear):
    """A gate with its softmax inside."""

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        return super().forward(hidden_BSH).softmax(-1)


class Scores(nn.Linear):
    """A gate with a sigmoid inside."""

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        return super().forward(hidden_BSH).sigmoid()


class ChosenOnly(nn.Linear):
    """A gate that returns weights over all experts, zero for those not chosen."""

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        probability = super().forward(hidden_BSH).softmax(-1)
        values, chosen = probability.topk(TOP_K)
        return torch.zeros_like(probability).scatter(-1, chosen, values)


class Ambiguous(TupleGate):
    """Two tensors over all experts."""

    def forward(self, hidden_BSH: Tensor) -> tuple[Tensor, Tensor]:
        _, _, logits = super().forward(hidden_BSH)
        return logits.softmax(-1), logits


class Block(nn.Module):
    def __init__(self, gate: nn.Module, *, flat: bool) -> None:
        super().__init__()
        self.gate = gate
        self.flat = flat
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(EXPERTS))

    def forward(self, hidden_BSH: Tensor) -> Tensor:
        given = hidden_BSH.reshape(-1, WIDTH) if self.flat else hidden_BSH
        output = self.gate(given)
        weights = output[-1].softmax(-1) if isinstance(output, tuple) else output.softmax(-1)
        mixed = torch.stack([expert(given) for expert in self.experts], -1) @ weights[..., None]
        return hidden_BSH + mixed[..., 0].reshape(hidden_BSH.shape)


class Model(nn.Module):
    """Gates of one class, given [B, S, H] or [B·S, H]."""

    def __init__(self, gate: type[nn.Module] = nn.Linear, *, flat: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        gates = [gate() if issubclass(gate, TupleGate) else gate(WIDTH, EXPERTS) for _ in range(LAYERS)]
        self.blocks = nn.ModuleList(Block(each, flat=flat) for each in gates)
        self.drop = nn.Dropout(0.0)

    def forward(self, hidden_BSH: Tensor) -> dict[str, Tensor]:
        for block in self.blocks:
            hidden_BSH = block(hidden_BSH)
        return {"loss": hidden_BSH.square().mean()}


def data() -> tuple[Tensor, MicroBatch]:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(3, 10, dtype=torch.int64)
    mask[-1, -4:] = 0
    modality = torch.randint(0, 2, mask.shape, generator=generator)
    return torch.randn(3, 10, WIDTH, generator=generator), MicroBatch({"attention_mask": mask}, modality)


def table() -> PriorTable:
    return modality_table(LAYERS, EXPERTS, TOP_K, weights=(1.0, 0.4))


def shaped(model: Model, routers: object) -> dict[str, Tensor]:
    hidden_BSH, batch = data()
    shaper = dpsl.attach(model, table(), ranks="sort", routers=routers)
    with shaper.tokens(mask=batch.inputs["attention_mask"], modality=batch.modality):
        loss = model(hidden_BSH)["loss"]
    loss.backward()
    assert shaper.statistics().tokens.sum() == LAYERS * batch.inputs["attention_mask"].sum()
    shaper.detach()
    return {name: g for name, g in gradients(model).items() if ".gate." in name}


def summed(model: Model, logits_of: type[nn.Module]) -> dict[str, Tensor]:
    """Explicit summation over what the gates' linear layers compute."""
    hidden_BSH, batch = data()
    caught: list[Tensor] = []
    for block in model.blocks:
        linear = block.gate.proj if isinstance(block.gate, TupleGate) else block.gate
        linear.register_forward_pre_hook(
            lambda linear, inputs: caught.append(nn.functional.linear(inputs[0], linear.weight, linear.bias))
        )
    total = model(hidden_BSH)["loss"]
    for place, logits in enumerate(caught):
        logits_NK = logits.reshape(-1, EXPERTS)
        if issubclass(logits_of, Scores):
            logits_NK = nn.functional.logsigmoid(logits_NK)
        total = total + population_terms(table(), place, logits_NK, [batch])
    total.backward()
    return {name: g for name, g in gradients(model).items() if ".gate." in name}


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in other.items():
        assert gradient.norm() > 1e-3
        assert (one[name] - gradient).norm() < 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("flat", [False, True], ids=["BSE", "NE"])
@pytest.mark.parametrize("gate", [nn.Linear, TupleGate, Probabilities, Scores])
def test_gradients_of_named_gates_are_those_of_explicit_summation(gate: type[nn.Module], flat: bool) -> None:
    """Double softmax is impossible: what holds probabilities or scores is taken as such."""
    found = shaped(Model(gate, flat=flat), "blocks.*.gate")
    assert_equal(found, summed(Model(gate, flat=flat), gate))


def test_a_place_in_the_output_can_be_said() -> None:
    assert_equal(shaped(Model(Ambiguous), {"blocks.*.gate": 1}), summed(Model(Ambiguous), Ambiguous))
    assert_equal(shaped(Model(TupleGate), {"blocks.*.gate": 2}), summed(Model(TupleGate), TupleGate))


@pytest.mark.parametrize(
    ("routers", "names"),
    [
        ("blocks.*.gate", ["blocks.0.gate", "blocks.1.gate"]),
        ("**.gate", ["blocks.0.gate", "blocks.1.gate"]),
        (["blocks.1.gate", "blocks.0.gate"], ["blocks.0.gate", "blocks.1.gate"]),
        (["blocks.?.gate", "blocks.1.gate"], ["blocks.0.gate", "blocks.1.gate"]),
        (["blocks.1.gate"], ["blocks.1.gate"]),
    ],
)
def test_names_and_globs(routers: object, names: list[str]) -> None:
    found = find_routers(Model(), routers)
    assert [router.name for router in found] == names
    assert [router.layer for router in found] == [int(name.split(".")[1]) for name in names]


def test_the_layer_is_what_the_first_wildcard_stands_for() -> None:
    model = nn.Module()
    model.stages = nn.ModuleList([Model(), Model()])
    found = find_routers(model, "stages.1.blocks.*.gate")
    assert [(router.name, router.layer) for router in found] == [
        ("stages.1.blocks.0.gate", 0),
        ("stages.1.blocks.1.gate", 1),
    ]


def test_a_known_router_keeps_its_adapter() -> None:
    assert {router.kind for router in find_routers(tiny("mixtral"), "model.layers.*.mlp.gate")} == {
        "recorded"
    }


@pytest.mark.parametrize(
    ("routers", "told"),
    [
        ("blocks.*.gaet", "'blocks.*.gaet': no module of the model has this name; did you mean"),
        ("nothing.like.it", "no module of the model has this name"),
        ("blocks", "matches 'blocks', a ModuleList, which computes no logits"),
        ("drop", "matches 'drop', a Dropout, which computes no logits"),
        ("blocks.*.experts.*", "two routers, blocks.0.experts.0 and blocks.0.experts.1"),
        (["blocks.*.gate", "blocks.0.experts.0"], "two routers, blocks.0.gate and blocks.0.experts.0"),
        ("blocks.*.experts.0", r"the prior is written for experts = 4, this router has 12"),
        ([], "no router found"),
        (5, "routers: 5 names no router"),
        ([None], "routers: None names no router"),
        ("", "routers: '': no module of the model has this name"),
        ({"blocks.*.gate": "1"}, "routers: 'blocks.*.gate': '1' names no router"),
        ({"blocks.*.gate": -1}, "routers: 'blocks.*.gate': -1 names no router"),
    ],
)
def test_mistakes_are_told(routers: object, told: str) -> None:
    with pytest.raises(AttachError) as error:
        dpsl.attach(Model(), table(), routers=routers)
    assert told in str(error.value)


def test_a_path_without_a_number_has_no_layer() -> None:
    model = nn.ModuleDict({"gate": nn.Linear(WIDTH, EXPERTS)})
    with pytest.raises(AttachError, match="'gate' has no number that could be its decoder layer"):
        dpsl.attach(model, table(), routers="gate")


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        (ChosenOnly, "it returns weights that are zero for all but the chosen experts"),
        (Ambiguous, "which tensor of its output holds logits .* is not clear: 0 and 1 could"),
    ],
)
def test_outputs_without_clear_logits_are_refused(gate: type[nn.Module], told: str) -> None:
    with pytest.raises(AttachError, match=rf"layer 0 \(blocks\.0\.gate\): .*{told}"):
        shaped(Model(gate), "blocks.*.gate")


def test_a_whole_block_is_no_router() -> None:
    with pytest.raises(AttachError, match=r"layer 0 \(blocks\.0\): .*experts = 4, this router has 12"):
        shaped(Model(), "blocks.*")


def test_a_model_whose_router_is_not_known_says_how_to_name_it() -> None:
    with pytest.raises(AttachError, match=r"no router found; .*routers='blocks\.\*\.gate'"):
        dpsl.attach(Model(), table())
