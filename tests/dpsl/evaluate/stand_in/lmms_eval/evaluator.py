"""`lmms_eval.evaluator.simple_evaluate`."""

import math
import random
import sys

import torch
from PIL import Image

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from lmms_eval.tasks import TaskManager


def simple_evaluate(
    model: str | lmms,
    model_args: str | dict | None = None,
    launcher_args: str | dict | None = None,
    tasks: list | None = None,
    num_fewshot: int | None = None,
    batch_size: int | str | None = None,
    max_batch_size: int | None = None,
    device: str | None = None,
    use_cache: str | None = None,
    limit: int | float | None = None,
    offset: int = 0,
    bootstrap_iters: int = 100000,
    log_samples: bool = True,
    gen_kwargs: str | None = None,
    task_manager: TaskManager | None = None,
    verbosity: str = "INFO",
    random_seed: int = 0,
    torch_random_seed: int = 1234,
) -> dict | None:
    """Scores of exact match over the documents of each task."""
    print("Running", tasks, file=sys.stdout)
    random.seed(random_seed)
    torch.manual_seed(torch_random_seed)
    assert isinstance(model, lmms)
    assert model.is_simple
    assert task_manager is not None
    results, counts = {}, {}
    for task in tasks or []:
        documents = task_manager.tasks[task]
        model.task_dict[task] = {"test": documents}
        requests = [_request(document, number, task) for number, document in enumerate(documents)][:limit]
        kind = requests[0].request_type
        answers = getattr(model, kind)(requests)
        right = [float(a == d["answer"]) for a, d in zip(answers, documents, strict=False)]
        mean = sum(right) / len(right)
        results[task] = {
            "alias": task,
            "exact_match,none": mean,
            "exact_match_stderr,none": math.sqrt(mean * (1 - mean) / len(right)),
            "exact_match_stderr_clt,none": 0.0,
            "exact_match_stderr_clustered,none": "N/A",
            "first_letter,strict": mean,
            "judged,none": float("nan"),
        }
        counts[task] = {"original": len(documents), "effective": len(right)}
    model.clean()
    return {"results": results, "n-samples": counts, "versions": {}, "usage": {}}


def _request(document: dict, number: int, task: str) -> Instance:
    arguments = (document["question"], dict(document["options"]), _images, number, task, "test")
    kind = document.get("type", "generate_until")
    return Instance(kind, arguments, number, {"task": task, "doc_id": number, "repeats": 1})


def _images(document: dict) -> list:
    if document.get("video"):
        return ["film.mp4"]
    return [Image.open(file) for file in document["images"]]
