"""The shaper adds, to each router's gradient, exactly the gradient of Σ over layers of weight · loss."""

from __future__ import annotations

import gc
import warnings

import pytest
import torch
from tables import modality_table, symmetric_table
from tiny_models import EXPERTS, LAYERS, TOP_K, batch, tiny
from torch import Tensor, nn

import dpsl
from dpsl.errors import AttachError
from dpsl.loss import dirichlet_prior_shaping_loss
from dpsl.routers.find import find_routers
from priorlang.table.prior_table import UNSHAPED, PriorTable
from tests.dpsl.gradients import assert_same_gradient, assert_same_gradients, gradients

CHECKPOINTING = {
    "plain": None,
    "non-reentrant": {"use_reentrant": False},
    "reentrant": {"use_reentrant": True},
}


def table_for(kind: str) -> PriorTable:
    return modality_table(LAYERS, EXPERTS, 1 if kind == "mixtral-top-1" else TOP_K, weights=(3.0, 0.7))


def codes(seed: int, like: Tensor) -> Tensor:
    return torch.randint(0, 2, like.shape, generator=torch.Generator().manual_seed(100 + seed))


def explicit_loss(
    model: nn.Module, table: PriorTable, inputs: dict[str, Tensor], modality: Tensor, kind: str
) -> Tensor:
    """Task loss + Σ over layers and populations of share · weight · loss, by plain autograd on captured logits."""
    captured: list[Tensor] = []
    handles = [
        router.module.register_forward_hook(lambda _m, _a, output: captured.append(output[0]))
        for router in find_routers(model)
    ]
    total = model(**inputs).loss
    for handle in handles:
        handle.remove()
    mask = inputs["attention_mask"].flatten().bool()
    for position, logits in enumerate(captured):
        effective = nn.functional.logsigmoid(logits) if kind == "deepseek-v3" else logits
        row_N = torch.from_numpy(table.row[position]).long()[modality.flatten()].masked_fill(~mask, UNSHAPED)
        for row in sorted(set(row_N[row_N >= 0].tolist())):
            population = (row_N == row).long() - 1
            share = (row_N == row).sum() / (row_N >= 0).sum()
            loss = dirichlet_prior_shaping_loss(
                effective.float(), torch.from_numpy(table.alpha[row]), population
            )
            total = total + share * table.weight[row] * loss
    return total


def explicit_gradients(kind: str, model: nn.Module, table: PriorTable, steps: int) -> dict[str, Tensor]:
    for seed in range(steps):
        torch.manual_seed(seed)
        inputs = batch(seed)
        (explicit_loss(model, table, inputs, codes(seed, inputs["input_ids"]), kind) / steps).backward()
    return gradients(model)


def shaped_gradients(model: nn.Module, table: PriorTable, steps: int) -> dict[str, Tensor]:
    shaper = dpsl.attach(model, table, ranks="sort")
    for seed in range(steps):
        torch.manual_seed(seed)
        inputs = batch(seed)
        with shaper.tokens(mask=inputs["attention_mask"], modality=codes(seed, inputs["input_ids"])):
            loss = model(**inputs).loss
        (loss / steps).backward()
    shaper.detach()
    return gradients(model)


def set_checkpointing(model: nn.Module, options: dict[str, bool] | None) -> None:
    if options is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
        if options["use_reentrant"]:
            model.enable_input_require_grads()


@pytest.mark.parametrize("checkpointing", CHECKPOINTING)
def test_forward_passes_of_one_loss(checkpointing: str) -> None:
    model, table = tiny("upcycled"), table_for("upcycled")
    plain = explicit_gradients("upcycled", model, table, steps=4)
    set_checkpointing(model, CHECKPOINTING[checkpointing])
    shaper = dpsl.attach(model, table, ranks="sort")
    losses = []
    for seed in range(4):
        inputs = batch(seed)
        with shaper.tokens(mask=inputs["attention_mask"], modality=codes(seed, inputs["input_ids"])):
            losses.append(model(**inputs).loss)
    (sum(losses) / 4).backward()
    assert_same_gradients(gradients(model), plain)


def test_passes_of_a_part_of_the_model() -> None:
    """The inner model alone, twice for one description of tokens: each pass keeps its own gradient."""
    model, table = tiny("upcycled"), table_for("upcycled")
    shaper = dpsl.attach(model, table, ranks="sort")
    separate: list[dict[str, Tensor]] = []
    inputs = [batch(seed, padding=0)["input_ids"] for seed in range(2)]
    modality = codes(0, inputs[0])
    for input_ids in inputs:
        with shaper.tokens(modality=modality):
            loss = model.model(input_ids).last_hidden_state.square().mean()
        shaper.scale_with(loss)
        loss.backward()
        separate.append(gradients(model))
    with shaper.tokens(modality=modality):
        loss = sum(model.model(input_ids).last_hidden_state.square().mean() for input_ids in inputs)
    shaper.scale_with(loss)
    loss.backward()
    assert_same_gradients(gradients(model), {name: g + separate[1][name] for name, g in separate[0].items()})


def test_top_1_renormalised_still_reaches_the_router() -> None:
    model = tiny("mixtral-top-1")
    shaped = shaped_gradients(model, table_for("mixtral-top-1"), steps=1)
    assert all(
        gradient.abs().max() > 1e-4 for name, gradient in shaped.items() if name.endswith("gate.weight")
    )


@pytest.mark.parametrize("checkpointing", CHECKPOINTING)
def test_statistics_and_value_count_once(checkpointing: str) -> None:
    model, table = tiny("upcycled"), symmetric_table()
    set_checkpointing(model, CHECKPOINTING[checkpointing])
    inputs = batch()
    shaper = dpsl.attach(model, table, ranks="sort")
    with shaper.tokens(mask=inputs["attention_mask"]):
        loss = model(**inputs).loss
    loss.backward()
    counted = int(inputs["attention_mask"].sum())
    statistics = shaper.statistics()
    assert statistics.tokens.tolist() == [counted] * LAYERS
    assert statistics.load.sum(-1).tolist() == [counted * TOP_K] * LAYERS
    assert statistics.bins.sum(-1).tolist() == [[counted] * EXPERTS] * LAYERS
    metrics = shaper.metrics()
    assert metrics["dpsl"] == pytest.approx(float(explicit_shaping(model, table, inputs).detach()), rel=1e-5)
    assert 0 < metrics["dpsl_above_floor"] < metrics["dpsl"]
    assert shaper.metrics() == {}


def explicit_shaping(model: nn.Module, table: PriorTable, inputs: dict[str, Tensor]) -> Tensor:
    modality = torch.zeros_like(inputs["input_ids"])
    for handle in list(model._forward_hooks):
        del model._forward_hooks[handle]
    for router in find_routers(model):
        router.module._forward_hooks.clear()
    model.gradient_checkpointing_disable()
    return explicit_loss(model, table, inputs, modality, "upcycled") - model(**inputs).loss


def test_padding_counts_nowhere() -> None:
    """What stands in padding changes neither gradients nor statistics."""
    table = symmetric_table(weight=3.0)
    results = []
    for filler in (0, 7):
        model = tiny("upcycled")
        inputs = batch()
        inputs["input_ids"][inputs["attention_mask"] == 0] = filler
        shaper = dpsl.attach(model, table)
        with shaper.tokens(mask=inputs["attention_mask"]):
            model(**inputs).loss.backward()
        results.append((gradients(model), shaper.statistics()))
    (one, counts), (other, counts_other) = results
    router = "model.layers.1.mlp.router.weight"
    assert_same_gradient(one[router], other[router])
    assert (counts.bins == counts_other.bins).all()


@pytest.mark.parametrize("spoilt", [torch.nan, torch.inf])
def test_logits_that_are_not_finite_are_counted_and_named(spoilt: float) -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    shaper.check_finite()
    (first, last) = shaper.routers

    def spoil(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        hidden_NH = args[0].clone()
        hidden_NH[:2] *= spoilt
        return (hidden_NH,)

    last.module.register_forward_pre_hook(spoil)
    with shaper.tokens(mask=inputs["attention_mask"]):
        model(**inputs).loss.backward()
    for _ in range(2):
        with pytest.raises(AttachError, match=rf"layer {last.layer} .*logits of 2 token\(s\) held NaN"):
            shaper.check_finite()
    shaper.metrics()
    shaper.check_finite()
    assert first.layer != last.layer


def test_a_router_without_weights_is_warned_of_once() -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    nn.init.zeros_(shaper.routers[0].module.weight)

    def step() -> None:
        with shaper.tokens(mask=inputs["attention_mask"]):
            model(**inputs).loss.backward()

    with pytest.warns(UserWarning, match="equal logits") as warned:
        step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step()
    told = [str(warning.message) for warning in warned if "equal logits" in str(warning.message)]
    assert len(told) == 1
    assert told[0].startswith(shaper.routers[0].place)


def test_not_a_number_in_padding_stays_there() -> None:
    model, table = tiny("upcycled"), symmetric_table()
    inputs = batch()
    shaper = dpsl.attach(model, table)

    def spoil(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.where(inputs["attention_mask"].flatten().bool()[:, None], args[0], torch.nan),)

    model.model.layers[-1].mlp.router.register_forward_pre_hook(spoil)
    with shaper.tokens(mask=inputs["attention_mask"]), torch.no_grad():
        model(**inputs)
    assert all(value == value for value in shaper.metrics().values())
    assert shaper.statistics().probability.sum(-1) == pytest.approx(
        int(inputs["attention_mask"].sum()), rel=1e-5
    )


def test_tokens_are_demanded_in_training_only() -> None:
    model = tiny("upcycled")
    shaper = dpsl.attach(model, symmetric_table())
    with pytest.raises(AttachError, match=r"shaper\.tokens"):
        model(**batch())
    model.eval()
    model(**batch())
    assert shaper.metrics() == {}
    assert shaper.statistics().tokens.sum() == 0


def test_detach_restores_the_model() -> None:
    model, inputs = tiny("upcycled"), batch()
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    before = model(**inputs)
    shaper = dpsl.attach(model, symmetric_table())
    with shaper.tokens(mask=inputs["attention_mask"]):
        during = model(**inputs)
    shaper.detach()
    after = model(**inputs)
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert torch.equal(before.logits, during.logits)
    assert torch.equal(before.logits, after.logits)


def test_scale_with_covers_a_loss_of_ones_own() -> None:
    model, table = tiny("upcycled"), table_for("upcycled")
    inputs = batch()
    modality = codes(0, inputs["input_ids"])
    reference = explicit_loss(model, table, inputs, modality, "upcycled")
    (reference * 0.5).backward()
    plain = gradients(model)
    shaper = dpsl.attach(model, table, ranks="sort")
    labels = inputs.pop("labels")
    with shaper.tokens(mask=inputs["attention_mask"], modality=modality):
        logits = model(**inputs).logits
    own = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    shaper.scale_with(own, factor=0.25)
    (own * 2).backward()
    shaping = {name: g for name, g in gradients(model).items() if name.endswith("router.weight")}
    (own_task,) = [
        nn.functional.cross_entropy(
            model.eval()(**inputs).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        )
    ]
    shaper.detach()
    (own_task * 2).backward()
    task = gradients(model)
    model.train()
    (model(**inputs, labels=labels).loss * 0.5).backward()
    task_half = gradients(model)
    for name, gradient in shaping.items():
        assert_same_gradient(gradient - task[name], plain[name] - task_half[name], within=1e-4, name=name)


def test_a_backward_pass_without_scale_is_named() -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    with shaper.tokens(mask=inputs.pop("attention_mask")):
        logits = model(input_ids=inputs["input_ids"]).logits
    with pytest.raises(AttachError, match="scale_with"):
        logits.sum().backward()
    with pytest.raises(AttachError, match="differentiable scalar"):
        shaper.scale_with(logits)


def test_watching_alone_adds_no_gradient() -> None:
    model, inputs = tiny("upcycled"), batch()
    model(**inputs).loss.backward()
    plain = gradients(model)
    shaper = dpsl.attach(model, symmetric_table(), shaping=False)
    with shaper.tokens(mask=inputs["attention_mask"]):
        model(**inputs).loss.backward()
    assert_same_gradients(gradients(model), plain, within=0.0)
    assert "dpsl" not in shaper.metrics()
    assert shaper.statistics().tokens.sum() > 0


def test_the_schedule_scales_the_gradient() -> None:
    table = symmetric_table(weight=3.0, schedule=((0.0, 0.0), (0.5, 1.0)))
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, table)
    with pytest.raises(AttachError, match="set_progress"), shaper.tokens():
        model(**inputs)
    values = []
    for step in (0, 2, 5, 9):
        shaper.set_progress(step, 10)
        shaper.metrics()
        with shaper.tokens():
            model(**inputs).loss.backward()
        values.append(shaper.metrics()["dpsl"])
    assert values == pytest.approx([0.0, 0.4 * values[3], values[3], values[3]])
    assert values[3] > 0


def test_arrivals_tell_what_each_router_got() -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    assert [arrival.gradient_norm for arrival in shaper.arrivals()] == [None, None]
    with shaper.tokens():
        (model(**inputs).loss / 4).backward()
    for arrival in shaper.arrivals():
        assert arrival.scale == 0.25
        assert arrival.gradient_norm is not None
        assert arrival.gradient_norm > 0


def test_gradients_are_not_kept_beyond_their_loss() -> None:
    model, inputs = tiny("upcycled"), batch()
    shaper = dpsl.attach(model, symmetric_table())
    for _ in range(4):
        with shaper.tokens():
            loss = model(**inputs).loss
        loss.backward()
        del loss
    gc.collect()
    assert len(shaper._passes._alive) == 1


class _Unrelated(nn.Module):
    """A router whose output nobody combines anything with."""

    def __init__(self) -> None:
        super().__init__()
        self.top_k = TOP_K
        self.weight = nn.Parameter(torch.randn(EXPERTS, 8))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        logits = hidden @ self.weight.t()
        return logits, logits.topk(TOP_K).indices


class _UnrelatedModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Unrelated() for _ in range(LAYERS)])

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        for layer in self.layers:
            hidden = hidden + layer(hidden)[1].sum()
        return {"loss": hidden.sum()}


def test_a_router_that_no_gradient_passes_is_named() -> None:
    from dpsl.routers.found import FoundRouter

    model = _UnrelatedModel()
    routers = [
        FoundRouter(f"layers.{i}", model.layers[i], i, EXPERTS, TOP_K, 0, "own") for i in range(LAYERS)
    ]
    shaper = dpsl.attach(model, symmetric_table(), routers=routers)
    hidden = torch.randn(10, 8, requires_grad=True)
    with shaper.tokens():
        model(hidden)["loss"].backward()
    with pytest.raises(AttachError, match="no gradient passed"), shaper.tokens():
        pass


def test_a_router_is_not_shaped_twice() -> None:
    model = tiny("upcycled")
    shaper = dpsl.attach(model, symmetric_table())
    with pytest.raises(AttachError, match=r"layer 0 .*another shaper shapes this router already"):
        dpsl.attach(model, symmetric_table())
    watching = dpsl.attach(model, symmetric_table(), shaping=False)
    shaper.detach()
    shaper.detach()
    watching.detach()
    dpsl.attach(model, symmetric_table()).detach()
