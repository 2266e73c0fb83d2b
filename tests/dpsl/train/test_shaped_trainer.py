"""The mixin in transformers' own Trainer: gradients of the right size, columns kept, metrics to trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tables import modality_table, symmetric_table
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_models import EXPERTS, LAYERS, TOP_K, VOCABULARY, tiny
from torch import Tensor, nn

import dpsl
from dpsl.audit import AuditError
from dpsl.errors import DpslError
from dpsl.loss import dirichlet_prior_shaping_loss
from dpsl.routers.find import find_routers
from priorlang.table.prior_table import PriorTable

WEIGHT, LENGTH = 3.0, 12
Record = dict[str, list[int]]


class ShapedTrainer(dpsl.ShapingMixin, transformers.Trainer):
    """What a user writes."""


def records(count: int) -> list[Record]:
    """Sequences of several lengths, of which a part is learnt."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for place in range(count):
        ids = torch.randint(3, VOCABULARY - 1, (LENGTH - place % 5,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [-100] * (place % 4) + ids[place % 4 :]})
    return made


def pad(features: list[Record]) -> dict[str, Tensor]:
    longest = max(len(feature["input_ids"]) for feature in features)

    def rows(name: str, filler: int) -> Tensor:
        return torch.tensor([f[name] + [filler] * (longest - len(f[name])) for f in features])

    ids = rows("input_ids", 0)
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": rows("labels", -100)}


class Gradients(transformers.TrainerCallback):
    """The gradients of the first optimizer step."""

    def __init__(self) -> None:
        self.of: dict[str, Tensor] = {}

    def on_pre_optimizer_step(self, *_arguments: Any, model: nn.Module, **_options: Any) -> None:
        self.of = self.of or {
            name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
        }


def arguments(folder: Path, **options: Any) -> transformers.TrainingArguments:
    defaults = {
        "max_steps": 1,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return transformers.TrainingArguments(
        output_dir=str(folder), max_grad_norm=0.0, per_device_train_batch_size=2, **{**defaults, **options}
    )


def explicit_gradients(
    model: nn.Module, table: PriorTable, batches: list[dict[str, Tensor]], *, by_tokens: bool
) -> dict[str, Tensor]:
    """Of the mean over all answer tokens, or over micro-batches, plus the mean shaping loss of the micro-batches."""
    learnt = sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches)
    alpha_K = torch.from_numpy(table.alpha[0])
    for batch in batches:
        captured: list[Tensor] = []
        handles = [
            router.module.register_forward_hook(lambda _m, _a, output, seen=captured: seen.append(output[0]))
            for router in find_routers(model)
        ]
        logits_BSV = model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits[:, :-1]
        for handle in handles:
            handle.remove()
        task = nn.functional.cross_entropy(
            logits_BSV.flatten(0, 1).float(), batch["labels"][:, 1:].flatten(), reduction="sum"
        )
        own = int((batch["labels"][:, 1:] != -100).sum())
        counts = batch["attention_mask"].flatten().bool()
        shaping = sum(WEIGHT * dirichlet_prior_shaping_loss(logits[counts], alpha_K) for logits in captured)
        (task / (learnt if by_tokens else own * len(batches)) + shaping / len(batches)).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("accumulation", [1, 2, 4, 8])
@pytest.mark.parametrize("by_tokens", [True, False])
def test_gradients_equal_explicit_summation(tmp_path: Path, accumulation: int, by_tokens: bool) -> None:
    table = symmetric_table(LAYERS, EXPERTS, TOP_K, weight=WEIGHT)
    model, seen = tiny("mixtral"), Gradients()
    data = records(2 * accumulation)
    batches = [pad(data[place : place + 2]) for place in range(0, len(data), 2)]
    expected = explicit_gradients(model, table, batches, by_tokens=by_tokens)
    trainer = ShapedTrainer(
        model=model,
        args=arguments(
            tmp_path, gradient_accumulation_steps=accumulation, train_sampling_strategy="sequential"
        ),
        shaper=dpsl.attach(model, table, ranks="sort", scope="micro"),
        train_dataset=data,
        data_collator=dpsl.TokenCollator(pad, table),
        callbacks=[seen],
    )
    trainer.model_accepts_loss_kwargs = by_tokens
    trainer.train()
    assert seen.of.keys() == expected.keys()
    for name, gradient in seen.of.items():
        assert torch.allclose(
            gradient, expected[name], rtol=1e-3, atol=1e-5 * float(expected[name].abs().max())
        ), name


def test_a_last_step_of_fewer_micro_batches(tmp_path: Path) -> None:
    """Six micro-batches in steps of four: the second step has two, and divides by two."""
    model = tiny("mixtral")
    table = symmetric_table(LAYERS, EXPERTS, TOP_K, weight=WEIGHT)
    shaper = dpsl.attach(model, table)
    scales = []

    class Watch(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *_arguments: Any, **_options: Any) -> None:
            scales.append(shaper.arrivals()[0].scale)

    ShapedTrainer(
        model=model,
        args=arguments(tmp_path, gradient_accumulation_steps=4, max_steps=2),
        shaper=shaper,
        train_dataset=records(12),
        data_collator=dpsl.TokenCollator(pad, table),
        callbacks=[Watch()],
    ).train()
    assert scales == pytest.approx([1 / 4, 1 / 2])


def test_trackers_get_every_layer_and_the_history_the_means(tmp_path: Path) -> None:
    model, table = tiny("mixtral"), modality_table(LAYERS, EXPERTS, TOP_K)
    trainer = ShapedTrainer(
        model=model,
        args=arguments(tmp_path, logging_steps=1, report_to="tensorboard"),
        shaper=dpsl.attach(model, table),
        train_dataset=records(2),
        data_collator=dpsl.TokenCollator(pad, table),
    )
    trainer.train()
    events = EventAccumulator(str(next(tmp_path.glob("runs/*"))))
    events.Reload()
    names = (
        "loss",
        "dpsl",
        "load_cov",
        "layer.0.load_cov",
        "layer.1.top1_score",
        "modality.language.load_cov",
    )
    seen = {name: events.Scalars(f"train/{name}") for name in names}
    assert all([event.step for event in found] == [1] for found in seen.values())
    history = trainer.state.log_history[0]
    for name in ("loss", "dpsl", "load_cov"):
        assert seen[name][0].value == pytest.approx(history[name], rel=1e-6)
    assert not any("layer." in name for row in trainer.state.log_history for name in row)


def test_a_batch_without_attributes_is_refused(tmp_path: Path) -> None:
    model, table = tiny("mixtral"), modality_table(LAYERS, EXPERTS, TOP_K)
    trainer = ShapedTrainer(
        model=model, args=arguments(tmp_path), shaper=dpsl.attach(model, table), train_dataset=records(2),
        data_collator=pad,
    )  # fmt: skip
    with pytest.raises(DpslError, match="TokenCollator"):
        trainer.train()


def test_samples_grouped_by_length_are_warned_about(tmp_path: Path) -> None:
    model, table = tiny("mixtral"), modality_table(LAYERS, EXPERTS, TOP_K)
    with pytest.warns(UserWarning, match="group_by_length"):
        ShapedTrainer(
            model=model,
            args=arguments(tmp_path, train_sampling_strategy="group_by_length"),
            shaper=dpsl.attach(model, table),
            train_dataset=records(2),
            data_collator=dpsl.TokenCollator(pad, table),
        )


def audited(folder: Path, model: nn.Module, **options: Any) -> ShapedTrainer:
    """A trainer with records of a prior that shapes."""
    table = symmetric_table(LAYERS, EXPERTS, TOP_K, weight=WEIGHT)
    return ShapedTrainer(
        model=model,
        args=arguments(folder, gradient_accumulation_steps=2, max_steps=2),
        shaper=dpsl.attach(model, table),
        train_dataset=records(8),
        data_collator=dpsl.TokenCollator(pad, table),
        **options,
    )


def test_the_first_micro_step_is_audited(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = audited(tmp_path, tiny("mixtral"))
    trainer.train()
    assert caplog.text.count("one micro-step") == 1
    assert trainer.audit is not None
    assert trainer.audit["coefficients"]["weights"] == pytest.approx([WEIGHT])
    assert f"shaping term: {WEIGHT:.0f}" in caplog.text


def test_a_router_that_learns_nothing_stops_the_trainer(tmp_path: Path) -> None:
    frozen = [tiny("mixtral"), tiny("mixtral")]
    for model in frozen:
        find_routers(model)[0].module.weight.requires_grad_(False)
    with pytest.raises(AuditError, match="frozen"):
        audited(tmp_path / "on", frozen[0]).train()
    unaudited = audited(tmp_path / "off", frozen[1], audit=False)
    unaudited.train()
    assert unaudited.audit is None
