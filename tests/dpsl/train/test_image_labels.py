"""The vision tower's stand-in objective: it learns in place, and its data is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dpsl.errors import DataError
from dpsl.train.image_labels import (
    ImageLabelDataset,
    ImageLabelModel,
    collate_image_labels,
    evaluate_image_labels,
)


@pytest.fixture(scope="module")
def labelled(digits_data: Path, digits_processor: Any) -> ImageLabelDataset:
    return ImageLabelDataset(digits_data / "labels.json", digits_data / "images", digits_processor)


def test_labels_are_read_in_the_order_of_their_names(labelled: ImageLabelDataset, digits_data: Path) -> None:
    raw = json.loads((digits_data / "labels.json").read_text())
    assert labelled.names == ("colour", "digit")
    assert labelled.classes == {"colour": 4, "digit": 10}
    assert labelled[5]["labels"].tolist() == [raw[5]["labels"]["colour"], raw[5]["labels"]["digit"]]


def test_training_it_trains_the_model_s_own_tower(labelled: ImageLabelDataset, digits_model: Any) -> None:
    model = digits_model(0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    learner = ImageLabelModel(model.model.vision_tower, labelled.classes, model.config.vision_feature_layer)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    batch = collate_image_labels([labelled[i] for i in range(64)])
    losses = []
    for _ in range(40):
        output = learner(**batch)
        output["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(output["loss"].item())
    assert losses[-1] < 0.7 * losses[0]
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert any("patch_embedding" in name for name in changed)
    assert all("vision_tower" in name for name in changed)


def test_accuracy_is_the_share_of_right_guesses(labelled: ImageLabelDataset, digits_model: Any) -> None:
    learner = ImageLabelModel(digits_model(0).model.vision_tower, labelled.classes, -1)
    batch = collate_image_labels([labelled[i] for i in range(len(labelled))])
    with torch.no_grad():
        output = learner(**batch)
    metrics = evaluate_image_labels(learner, labelled, batch_size=100)
    for place, name in enumerate(labelled.names):
        right = (output["logits"][place].argmax(-1) == batch["labels"][:, place]).float().mean()
        assert metrics[f"eval_{name}_accuracy"] == pytest.approx(float(right))
    assert metrics["eval_loss"] == pytest.approx(float(output["loss"]), rel=1e-5)
    assert learner.training


def test_the_heads_read_what_the_projector_reads(labelled: ImageLabelDataset, digits_model: Any) -> None:
    model = digits_model(0).eval()
    learner = ImageLabelModel(model.model.vision_tower, {"digit": 10}, (-2, -1))
    batch = collate_image_labels([labelled[0], labelled[1]])
    states = model.model.vision_tower(batch["pixel_values"], output_hidden_states=True).hidden_states
    read = torch.cat([states[-2][:, 1:], states[-1][:, 1:]], -1).mean(1)
    assert torch.allclose(
        learner(batch["pixel_values"])["logits"][0], learner.heads["digit"](read), atol=1e-6
    )


def test_every_patch_token_is_asked(labelled: ImageLabelDataset, digits_model: Any) -> None:
    """The loss is the mean over patches of each patch's own cross-entropy."""
    learner = ImageLabelModel(digits_model(0).model.vision_tower, {"digit": 10}, -1)
    batch = collate_image_labels([labelled[0], labelled[1]])
    labels = batch["labels"][:, 1:]
    states = learner.tower(batch["pixel_values"], output_hidden_states=True).hidden_states
    logits_BPC = learner.heads["digit"](states[-1][:, 1:])
    losses = [torch.nn.functional.cross_entropy(logits_BPC[:, p], labels[:, 0]) for p in range(16)]
    assert torch.allclose(learner(batch["pixel_values"], labels)["loss"], torch.stack(losses).mean())


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"image": "train/gone.png", "labels": {"digit": 1}}, "gone.png not found"),
        ({"image": "HERE"}, "no `image` or no `labels`"),
        ({"image": "HERE", "labels": {"digit": "three"}}, "a label is text"),
        ({"image": "HERE", "labels": {"digit": -1}}, "a label is -1"),
        ({"image": "HERE", "labels": {"digit": 1, "colour": 0}}, "its labels are not digit"),
        (["no mapping"], "no `image` or no `labels`"),
    ],
)
def test_a_bad_record_is_named(
    digits_data: Path, digits_processor: Any, tmp_path: Path, record: Any, problem: str
) -> None:
    good = json.loads((digits_data / "labels.json").read_text())[0]["image"]
    if isinstance(record, dict) and record["image"] == "HERE":
        record = {**record, "image": good}
    path = tmp_path / "labels.json"
    path.write_text(json.dumps([{"image": good, "labels": {"digit": 1}}, record]))
    with pytest.raises(DataError, match=r"labels\.json record 1") as raised:
        ImageLabelDataset(path, digits_data / "images", digits_processor)
    assert problem in str(raised.value)
