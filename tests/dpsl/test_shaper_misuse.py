"""What a new user of an attached shaper gets wrong: each is an error that names the place, or does what was meant."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from bare_routers import EXPERTS, LAYERS, WIDTH, BareRouters
from tables import modality_table
from tiny_models import batch, tiny
from torch import Tensor

import dpsl
from dpsl.errors import AttachError
from dpsl.regularizers import ManualModality, ZLoss, attach_regularizers
from dpsl.shaper import Shaper

TABLE = modality_table(LAYERS, EXPERTS, 2)


def hidden(tokens: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def attached(**options: Any) -> tuple[BareRouters, Shaper]:
    model = BareRouters()
    return model, dpsl.attach(model, TABLE, **options)


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({"modality": torch.zeros(12, 3, dtype=torch.int64)}, r"shape \[12, 3\], the model has \[3, 12\]"),
        ({"modality": "vision", "mask": torch.ones(4, 9, dtype=torch.bool)}, r"shape \[4, 9\]"),
        ({"modality": ["vision", "language"] * 3}, r"shape \[6\], the model has \[3, 12\]"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_tokens_laid_out_another_way_than_the_models(
    described: dict[str, Any], told: str, named: bool
) -> None:
    model, inputs = tiny("mixtral"), batch(padding=0)
    shaper = dpsl.attach(model, modality_table())
    with pytest.raises(AttachError, match=told), shaper.tokens(**described):
        model(**inputs) if named else model(inputs["input_ids"], labels=inputs["labels"])


def test_a_router_that_keeps_sequences_apart_is_asked_first() -> None:
    model = BareRouters()
    shaper = dpsl.attach(model, TABLE, routers="layers.*")
    hidden_SBH = hidden().view(4, 3, WIDTH)
    with shaper.tokens(modality=torch.zeros(4, 3, dtype=torch.int64)):
        model.layers[0](hidden_SBH)
    with pytest.raises(AttachError, match=r"\[4, 3\]"), shaper.tokens(modality=["vision"] * 3):
        model.layers[0](hidden_SBH)


def test_barred_experts_ask_for_the_same_layout() -> None:
    model, inputs, table = tiny("mixtral"), batch(padding=0), modality_table()
    terms = [ManualModality(attribute="modality", allow={"vision": (0, 1)})]
    regularizers = attach_regularizers(model, terms, attributes=table.header.attributes)
    with (
        pytest.raises(AttachError, match=r"\[12, 3\]"),
        regularizers.tokens(modality=torch.zeros(12, 3, dtype=torch.int64)),
    ):
        model(**inputs)


def test_one_long_row_is_in_any_order() -> None:
    model, inputs = tiny("mixtral"), batch(padding=0)
    shaper = dpsl.attach(model, modality_table())
    with shaper.tokens(modality=torch.zeros(1, 36, dtype=torch.int64)):
        model(**inputs).loss.backward()


@pytest.mark.parametrize(
    "given", [{"modality": torch.ones(3, 4, dtype=torch.bool)}, {"modality": torch.ones(3, 4) * 1j}]
)
def test_codes_say_which_and_not_whether(given: dict[str, Tensor]) -> None:
    _, shaper = attached()
    with pytest.raises(AttachError, match="give an integer tensor of codes"), shaper.tokens(**given):
        pass


@pytest.mark.parametrize(
    ("step", "total"), [("a", 3), (-3, 10), (float("nan"), 10), (0.5, 1), (11, 10), (1, None), (True, 2)]
)
def test_progress_is_told_in_steps(step: Any, total: Any) -> None:
    model, shaper = attached()
    for told in (shaper, attach_regularizers(model, [ZLoss(coefficient=0.1)])):
        with pytest.raises(AttachError, match=r"set_progress\("):
            told.set_progress(step, total)
        told.set_progress(torch.tensor(3), 3)


@pytest.mark.parametrize("window", [True, 1.0, "2", None])
def test_a_window_is_an_integer(window: Any) -> None:
    with pytest.raises(AttachError, match="number of forward passes"):
        attached(window=window)


def test_what_is_detached_sees_no_tokens() -> None:
    model, shaper = attached()
    regularizers = attach_regularizers(model, [ZLoss(coefficient=0.1)])
    for gone in (shaper, regularizers):
        gone.detach()
        with (
            pytest.raises(AttachError, match=r"tokens\(…\): its hooks are removed"),
            gone.tokens(modality="vision"),
        ):
            pass


def test_routers_are_not_regularized_twice() -> None:
    model = BareRouters()
    first = attach_regularizers(model, [ZLoss(coefficient=0.1, layers=(0,))])
    attach_regularizers(model, [ZLoss(coefficient=0.1, layers=(1,))])
    with pytest.raises(AttachError, match=r"layer 0 .*other regularizers are attached"):
        attach_regularizers(model, [ZLoss(coefficient=0.1)])
    first.detach()
    attach_regularizers(model, [ZLoss(coefficient=0.1, layers=(0,))])


PASSES = [("vision", 0), ("language", 1), ("vision", 2)]


def run(model: BareRouters, shaper: Shaper, modality: str, seed: int) -> None:
    with shaper.tokens(modality=torch.full((3, 4 + seed), ["vision", "language"].index(modality))):
        model(hidden(12 + 3 * seed, seed))["loss"]


@pytest.mark.parametrize("order", [[1], [2], [0, 2], [0, 1, 1]])
def test_passes_in_another_order_than_looked_ahead_over(order: list[int]) -> None:
    model, shaper = attached()
    with shaper.look_ahead():
        for modality, seed in PASSES:
            run(model, shaper, modality, seed)
    for place in order[:-1]:
        run(model, shaper, *PASSES[place])
    with pytest.raises(AttachError, match=f"forward pass {len(order)} of the step has other tokens"):
        run(model, shaper, *PASSES[order[-1]])


def test_the_same_tokens_described_with_other_ids() -> None:
    model = tiny("mixtral")
    shaper = dpsl.attach(model, modality_table())
    with shaper.look_ahead(), shaper.tokens(modality="vision"):
        model(**batch(0, padding=0))
    with (
        pytest.raises(AttachError, match="same micro-batches in the same order"),
        shaper.tokens(modality="vision"),
    ):
        model(**batch(1, padding=0))


def test_passes_that_never_came_are_told_by_the_next_step() -> None:
    model, shaper = attached()
    with shaper.look_ahead():
        for modality, seed in PASSES:
            run(model, shaper, modality, seed)
    run(model, shaper, *PASSES[0])
    with pytest.raises(AttachError, match="saw 3 forward passes, and only 1"), shaper.look_ahead():
        pass
    with shaper.look_ahead():
        run(model, shaper, *PASSES[0])
    run(model, shaper, *PASSES[0])


def test_states_that_do_not_fit_the_window() -> None:
    model, shaper = attached(window=3)
    for modality, seed in PASSES:
        run(model, shaper, modality, seed)
    state = shaper.state_dict()
    shaper.detach()
    for window, told in ((1, "attach with window=3"), (2, "has room for 1")):
        narrow = dpsl.attach(model, TABLE, window=window)
        with pytest.raises(AttachError, match=told):
            narrow.load_state_dict(state)
        narrow.load_state_dict({})
        narrow.detach()
    wide = dpsl.attach(model, TABLE, window=5)
    wide.load_state_dict(state)
    assert wide.state_dict().keys() == state.keys()
    broken: list[Any] = [
        {"a": torch.ones(1)},
        {**state, "a": torch.ones(1)},
        {**state, "0.ends": torch.ones(1)},
        {name: values for name, values in state.items() if name != "1.counts"},
        {name: values for name, values in state.items() if name != "table"},
        {**state, "0.ends": [1]},
        [1],
    ]
    for other in broken:
        with pytest.raises(AttachError, match="no state of a shaper"):
            wide.load_state_dict(other)


def test_another_thread_is_told() -> None:
    model, shaper = attached()
    told: list[str] = []

    def work() -> None:
        try:
            model(hidden())
        except AttachError as error:
            told.append(str(error))

    with shaper.tokens(modality="vision"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        model(hidden())["loss"].backward()
    assert "another thread" in told[0]


def test_functional_transformations_are_told() -> None:
    model, shaper = attached()
    given_NH = hidden().detach()

    def loss(parameters: dict[str, Tensor]) -> Tensor:
        with shaper.tokens(modality="vision"):
            found: Tensor = torch.func.functional_call(model, parameters, (given_NH,))["loss"]
        return found

    parameters = {name: values.detach() for name, values in model.named_parameters()}
    with pytest.raises(AttachError, match=r"layer 0 .*torch\.func"):
        torch.func.grad(loss)(parameters)


def test_inference_mode_before_training() -> None:
    values = []
    for looked in (False, True):
        model, shaper = attached()
        if looked:
            with torch.inference_mode(), shaper.tokens(modality="vision"):
                model.eval()(hidden())
        model.train()
        shaper.metrics()
        with shaper.tokens(modality="vision"):
            model(hidden())["loss"].backward()
        values.append((shaper.metrics()["dpsl"], float(model.layers[0].weight.grad.norm())))
    assert values[0] == values[1]


@pytest.mark.parametrize("ranks", ["sort", "histogram"])
def test_batches_of_which_nothing_counts(ranks: Any) -> None:
    model, shaper = attached(ranks=ranks)
    nothing = torch.zeros(0, dtype=torch.int64)
    masked = torch.zeros(2, 6, dtype=torch.int64)
    for tokens, described in ((0, {"modality": nothing}), (12, {"modality": "vision", "mask": masked})):
        with shaper.tokens(**described):
            model(hidden(tokens))["loss"].backward()
        assert shaper.metrics() == {}
        assert all(bool(layer.weight.grad.isfinite().all()) for layer in model.layers)


def test_a_model_that_is_cast_after_it_was_attached_to() -> None:
    model, inputs = tiny("mixtral"), batch()
    shaper = dpsl.attach(model, modality_table())
    norms = []
    for dtype in (torch.float32, torch.bfloat16):
        model.to(dtype)
        with shaper.tokens(mask=inputs["attention_mask"], modality="vision"):
            model(**inputs).loss.backward()
        norms.append([arrival.gradient_norm for arrival in shaper.arrivals()])
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_one_population_of_equal_logits_beside_another_is_warned_of() -> None:
    model, shaper = attached()
    flat_NH = hidden().detach()
    flat_NH[:6] = 0.0
    codes = torch.tensor([0] * 6 + [1] * 6)[None]
    with (
        pytest.warns(UserWarning, match="every token of population layer 0 · prior 0 has equal logits"),
        pytest.warns(UserWarning, match="layer 1 .*every token of population layer 1 · prior 0"),
        shaper.tokens(modality=codes),
    ):
        model(flat_NH.requires_grad_())


def test_a_compiled_model_is_shaped_as_it_is() -> None:
    norms = []
    for compiled in (False, True):
        model, shaper = attached()
        run_as = torch.compile(model, backend="eager") if compiled else model
        with shaper.tokens(modality=torch.tensor([[0] * 6 + [1] * 6])):
            run_as(hidden())["loss"].backward()
        assert shaper.statistics().tokens.sum() == 12 * LAYERS
        norms.append([arrival.gradient_norm for arrival in shaper.arrivals()])
    assert norms[0] == norms[1]
