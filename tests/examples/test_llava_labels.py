"""examples/llava/label_tasks.py: every label is a member of the prior that it is for."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import priorlang

ROOT = Path(__file__).parents[2]
LLAVA = ROOT / "examples" / "llava"


def record(image: str | list[str] | None, said: str = "what is it?") -> dict[str, Any]:
    turns = [{"from": "human", "value": said}, {"from": "gpt", "value": "a cat"}]
    return {"conversations": turns} if image is None else {"image": image, "conversations": turns}


def test_records_get_the_tasks_of_the_prior(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "text": record(None),
        "ocr": record("ocr_vqa/images/1.jpg"),
        "grounding": record("vg/VG_100K/1.jpg", "where? [0.12, 0.3, 1.0, .61]"),
        "vqa": record(["coco/train2017/1.jpg", "textvqa/1.jpg"], "which of [0.1, 0.2]?"),
    }
    (tmp_path / "a.json").write_text(json.dumps(list(given.values())))
    monkeypatch.setattr(sys, "argv", ["label_tasks.py", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    runpy.run_path(str(LLAVA / "label_tasks.py"), run_name="__main__")
    labelled = json.loads((tmp_path / "b.json").read_text())
    assert labelled == [{**one, "task": task} for task, one in given.items()]
    table = priorlang.compile(priorlang.load(LLAVA / "priors" / "llama-3.2-1b" / "task.prior"))
    (task,) = table.header.attributes
    assert set(given) <= set(task.members)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["label_tasks.py", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    with pytest.raises(SystemExit, match=r"a\.json: No such file .* README\.md"):
        runpy.run_path(str(LLAVA / "label_tasks.py"), run_name="__main__")
