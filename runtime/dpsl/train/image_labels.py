"""The vision tower's own objective: labels of images, read off its patch tokens.

It stands in for the pre-training of a CLIP tower where no pre-trained one can be had. The linear heads serve
this stage alone; what stays is the tower. Every patch token is asked for the labels of the whole image, since
every one of them becomes a token of the language model; the answer is the mean of what they say. Asking their
mean alone leaves the language model to gather what the heads could.

The data is a JSON list of {"id": "0", "image": "a.png", "labels": {"digit": 3, "colour": 1}}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from dpsl.errors import DataError, DataProblem
from dpsl.train.data.images import ImageLoader, image_problems
from dpsl.train.data.json_list import kind, read_list
from dpsl.train.data.progress import Tell, silent

_EXPECTED = 'expected a list of {"image": "a.png", "labels": {"digit": 3, …}}, labels from 0'


@dataclass(frozen=True)
class LabelledImage:
    """An image file and its labels, in the order of their names."""

    place: str
    image: Path
    labels: tuple[int, ...]


class ImageLabelDataset(Dataset[dict[str, Tensor]]):
    """Labelled images: `pixel_values` [3, H, W] and `labels` [T], one of each label name.

    Attributes:
        names: the T label names, sorted.
        classes: of each label, one more than the largest value seen.
    """

    def __init__(
        self,
        path: Path,
        images: Path,
        processor: Any,
        *,
        verify_images: bool = True,
        image_cache_bytes: int = 256 << 20,
        tell: Tell = silent,
    ) -> None:
        """Read and check.

        Args:
            path: the JSON list.
            images: the folder that image paths are relative to.
            processor: the model's processor.
            verify_images: open each image file once, to find broken ones before training starts.
            image_cache_bytes: decoded images kept in memory.
            tell: hears how far it is.

        Raises:
            DataError: the file or one of its records or images cannot be used.
        """
        self.names, self._records = _read_labels(path, images, verify_images, tell)
        columns = zip(*(record.labels for record in self._records), strict=True)
        self.classes: Mapping[str, int] = {n: max(c) + 1 for n, c in zip(self.names, columns, strict=True)}
        self._loader = ImageLoader(processor, image_cache_bytes)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Image number `index` and its labels."""
        record = self._records[index]
        return {
            "pixel_values": self._loader.load(record.image, record.place),
            "labels": torch.tensor(record.labels),
        }


def collate_image_labels(samples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch: `pixel_values` [B, 3, H, W], `labels` [B, T]."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


class ImageLabelModel(nn.Module):
    """A vision tower with one linear head per label.

    Attributes:
        tower: the model's own vision tower; training this module trains it in place.
        heads: by label name; thrown away after the stage.
    """

    def __init__(
        self, tower: nn.Module, classes: Mapping[str, int], feature_layer: int | Sequence[int]
    ) -> None:
        """Heads for the labels in `classes`, on the layers of the tower that the projector will read."""
        super().__init__()
        self.tower = tower
        self._layers = [feature_layer] if isinstance(feature_layer, int) else list(feature_layer)
        width = int(tower.config.hidden_size) * len(self._layers)  # type: ignore[union-attr, arg-type]
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes[name]) for name in sorted(classes)})

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        """Mean cross-entropy over labels and patch tokens as `loss`, and `logits`: for each label [B, classes]."""
        states = self.tower(pixel_values, output_hidden_states=True).hidden_states
        patches_BPD = torch.cat([states[layer][:, 1:] for layer in self._layers], dim=-1)
        logits_BPC = [head(patches_BPD) for head in self.heads.values()]
        output: dict[str, Any] = {"logits": [z_BPC.mean(1) for z_BPC in logits_BPC]}
        if labels is not None:
            losses = [_patch_loss(z, y) for z, y in zip(logits_BPC, labels.unbind(1), strict=True)]
            output = {"loss": torch.stack(losses).mean(), **output}
        return output


def _patch_loss(logits_BPC: Tensor, labels_B: Tensor) -> Tensor:
    labels_BP = labels_B[:, None].expand(-1, logits_BPC.shape[1])
    return nn.functional.cross_entropy(logits_BPC.flatten(0, 1), labels_BP.flatten())


@torch.no_grad()
def evaluate_image_labels(
    model: nn.Module, dataset: ImageLabelDataset, *, batch_size: int = 128, prefix: str = "eval"
) -> dict[str, float]:
    """`eval_NAME_accuracy` and `eval_NAME_count` of each label, and `eval_loss`; with torch.distributed the same on every rank.

    Every rank looks at every image: a tower's forward pass over a held-out set is cheap, and sharded
    parameters need all ranks to run the same passes anyway.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    right_T = torch.zeros(len(dataset.names), dtype=torch.float64)
    loss = 0.0
    try:
        for start in range(0, len(dataset), batch_size):
            samples = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            batch = {name: value.to(device) for name, value in collate_image_labels(samples).items()}
            output = model(**batch)
            guesses_BT = torch.stack([z.argmax(-1) for z in output["logits"]], dim=1)
            right_T += (guesses_BT == batch["labels"]).sum(0).cpu()
            loss += float(output["loss"]) * len(samples)
    finally:
        model.train(was_training)
    accuracies: dict[str, float] = {}
    for name, right in zip(dataset.names, right_T, strict=True):
        accuracies[f"{prefix}_{name}_accuracy"] = float(right) / len(dataset)
        accuracies[f"{prefix}_{name}_count"] = float(len(dataset))
    return {f"{prefix}_loss": loss / len(dataset), **accuracies}


def _read_labels(
    path: Path, images: Path, verify: bool, tell: Tell
) -> tuple[tuple[str, ...], list[LabelledImage]]:
    names: tuple[str, ...] = ()
    records: list[LabelledImage] = []
    problems: list[DataProblem] = []
    stated = [
        (raw.get("labels"), raw.get("image")) if isinstance(raw, dict) else (None, None)
        for raw in read_list(path, _EXPECTED)
    ]
    broken = image_problems(
        (images / image for _, image in stated if isinstance(image, str)), verify=verify, tell=tell
    )
    for index, (labels, image) in enumerate(stated):
        place = f"{path} record {index}"
        if not isinstance(image, str) or not isinstance(labels, dict) or not labels:
            problems.append(DataProblem(place, "no `image` or no `labels`", _EXPECTED))
            continue
        names = names or tuple(sorted(labels))
        values = [value for _, value in sorted(labels.items())]
        wrong = [value for value in values if type(value) is not int or value < 0]
        complaint = broken[images / image]
        if tuple(sorted(labels)) != names:
            problems.append(
                DataProblem(place, f"its labels are not {', '.join(names)}", "label every image alike")
            )
        elif wrong:
            problems.append(DataProblem(place, f"a label is {kind(wrong[0])}", "number the classes from 0"))
        elif complaint is not None:
            problems.append(DataProblem(place, *complaint))
        else:
            records.append(LabelledImage(place, images / image, tuple(values)))
    if problems:
        raise DataError(problems)
    return names, records
