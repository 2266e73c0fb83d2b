"""A model folder as lmms-eval's model interface (`lmms_eval.api.model.lmms`)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import new_class
from typing import Any

import torch

from dpsl.errors import EvaluationError
from dpsl.evaluate.lmms import cut, device, generation_options, images_of
from dpsl.evaluate.processor import load_processor
from dpsl.train.data.chat import ChatFormat
from dpsl.train.data.turns import PLACEHOLDER, Turn


def lmms_model(folder: Path, batch_size: int) -> Any:
    """The model and processor of a folder, ready to be asked.

    Raises:
        DpslError: the folder holds no model, or no processor.
    """
    from dpsl.upcycle import load_model

    processor = load_processor(folder)
    model: Any = load_model(folder, dtype="auto")
    kind = new_class("TrainedModel", (Answers, import_module("lmms_eval.api.model").lmms))
    return kind(model.to(device()).eval(), processor, batch_size)


class Answers:
    """Answers requests in the chat format that the model was trained with.

    Attributes:
        task_dict: task → split → documents, filled in by lmms-eval.
        device: where the model is.

    Args:
        model: with `generate`.
        processor: its processor, or its tokenizer where it reads text alone.
        batch_size: requests that are answered together.
    """

    def __init__(self, model: Any, processor: Any, batch_size: int) -> None:
        self.task_dict: dict[str, Any] = {}
        super().__init__()
        self._model, self._processor, self._batch_size = model, processor, batch_size
        self._tokenizer = getattr(processor, "tokenizer", processor)
        self._tokenizer.padding_side = "left"
        self._chat = ChatFormat(processor)
        self.device = device()

    def generate_until(self, requests: list[Any]) -> list[str]:
        """The answer to each request, in order; those with the same options are generated together."""
        answers: dict[int, str] = {}
        alike: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            alike.setdefault(repr(sorted(request.args[1].items(), key=str)), []).append(index)
        for indices in alike.values():
            for start in range(0, len(indices), self._batch_size):
                some = indices[start : start + self._batch_size]
                answers |= dict(zip(some, self._answer([requests[i] for i in some]), strict=True))
        return [answers[index] for index in range(len(requests))]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Not offered: the paper's benchmarks are generated."""
        raise EvaluationError(
            "evaluate: lmms-eval",
            f"the task {requests[0].task_name} compares likelihoods, which this seam does not offer",
            "ask for a task that generates, as its `…_gen` variant",
        )

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Not offered."""
        raise EvaluationError(
            "evaluate: lmms-eval",
            f"the task {requests[0].task_name} has several rounds, which this seam does not offer",
            "ask for a task of one round",
        )

    @torch.inference_mode()
    def _answer(self, requests: list[Any]) -> list[str]:
        texts, images, asked = [], [], requests[0].args[1]
        for request in requests:
            context, _, doc_to_visual, doc_id, task, split = request.args
            own = images_of(doc_to_visual(self.task_dict[task][split][doc_id]) or ())
            texts.append(self._prompt(context, len(own)))
            images.extend(own)
        pictures = {"images": [image.convert("RGB") for image in images]} if images else {}
        inputs = self._processor(text=texts, padding=True, return_tensors="pt", **pictures).to(self.device)
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        inputs.pop("token_type_ids", None)
        options = generation_options(asked)
        written = self._model.generate(**inputs, **options, pad_token_id=self._tokenizer.pad_token_id or 0)
        new = written[:, inputs["input_ids"].shape[1] :]
        answers = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [cut(answer, asked.get("until")).strip() for answer in answers]

    def _prompt(self, context: str, images: int) -> str:
        """The question with a placeholder for each image, up to where the answer begins."""
        missing = images - context.count(PLACEHOLDER)
        return self._chat.prompt((Turn("user", f"{PLACEHOLDER}\n" * max(0, missing) + context),))
