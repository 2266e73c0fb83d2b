"""The mixin in TRL's SFTTrainer: the prior counts once at any accumulation, padded or packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trl
from datasets import Dataset
from tables import modality_table
from tiny_models import EXPERTS, LAYERS, TOP_K, VOCABULARY, tiny
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

import dpsl
from dpsl.errors import DpslError

IMAGE_TOKEN = 5
LENGTHS = (9, 6, 12, 7)


class ShapedTrainer(dpsl.ShapingMixin, trl.SFTTrainer):
    """What a user writes."""


def words() -> PreTrainedTokenizerFast:
    places = {f"w{place}": place for place in range(VOCABULARY)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(places, unk_token="w1")), pad_token="w0", eos_token="w2"
    )


def sequences(count: int) -> Dataset:
    """Each has one image token more than the one before, up to three."""
    rows = []
    for place in range(count):
        ids = [6 + (place + step) % 9 for step in range(LENGTHS[place % 4])]
        ids[: 1 + place % 3] = [IMAGE_TOKEN] * (1 + place % 3)
        rows.append({"input_ids": ids, "labels": [-100, *ids[1:]]})
    return Dataset.from_list(rows)


def trainer_of(folder: Path, accumulation: int = 1, **options: Any) -> tuple[ShapedTrainer, dpsl.Shaper]:
    table, model = modality_table(LAYERS, EXPERTS, TOP_K), tiny("mixtral")
    shaper = dpsl.attach(model, table)
    config = trl.SFTConfig(
        output_dir=str(folder), max_steps=1, per_device_train_batch_size=2, use_cpu=True, bf16=False,
        gradient_accumulation_steps=accumulation, gradient_checkpointing=False, report_to="none",
        save_strategy="no", disable_tqdm=True, max_length=24, router_aux_loss_coef=0.0, **options,
    )  # fmt: skip
    trainer = ShapedTrainer(
        model=model, args=config, shaper=shaper, train_dataset=sequences(40), processing_class=words()
    )
    trainer.data_collator = dpsl.TokenCollator(trainer.data_collator, table, image_token_id=IMAGE_TOKEN)
    return trainer, shaper


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_prior_counts_once(tmp_path: Path, accumulation: int, packing: bool) -> None:
    trainer, shaper = trainer_of(tmp_path, accumulation, packing=packing)
    trainer.train()
    assert [arrival.scale for arrival in shaper.arrivals()] == pytest.approx([1 / accumulation] * LAYERS)
    assert trainer.audit is not None
    assert trainer.audit["coefficients"]["scale"] == pytest.approx(1.0)
    assert all(router["gradient"]["dpsl"] > 0 for router in trainer.audit["routers"])


@pytest.mark.parametrize("packing", [False, True])
def test_every_token_is_counted_once_as_what_it_is(tmp_path: Path, packing: bool) -> None:
    trainer, shaper = trainer_of(tmp_path, packing=packing)
    seen = []
    collate = trainer.data_collator

    def keep(features: list[dict[str, Any]]) -> dict[str, Any]:
        seen.append(collate(features))
        return seen[-1]

    trainer.data_collator = keep
    trainer.train()
    (batch,) = seen[:1]
    images = int((batch["input_ids"] == IMAGE_TOKEN).sum())
    told = int(batch["attention_mask"].sum()) if not packing else batch["input_ids"].numel()
    assert images > 0
    assert shaper.statistics().tokens.tolist() == [images, told - images] * LAYERS


def test_trl_refuses_a_collator_given_to_a_packing_trainer(tmp_path: Path) -> None:
    """Which is why the collator is wrapped afterwards."""
    table, model = modality_table(LAYERS, EXPERTS, TOP_K), tiny("mixtral")
    config = trl.SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, packing=True, report_to="none")
    with pytest.raises(ValueError, match="custom data collator"):
        ShapedTrainer(
            model=model, args=config, shaper=dpsl.attach(model, table), train_dataset=sequences(4),
            processing_class=words(), data_collator=dpsl.TokenCollator(lambda features: {}, table),
        )  # fmt: skip


def test_without_the_collator_the_fix_is_named(tmp_path: Path) -> None:
    trainer, _ = trainer_of(tmp_path)
    trainer.data_collator = trainer.data_collator._collator
    with pytest.raises(DpslError, match="TokenCollator"):
        trainer.train()
