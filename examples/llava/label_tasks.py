"""Write a task on each record of LLaVA's mixture of 665k, for priors/*/task.prior.

    python label_tasks.py data/llava_v1_5_mix665k.json data/llava_v1_5_mix665k_tasks.json

The paper does not say how it sorted its records into tasks (Appendix C.6). Here the folder of an image decides, and
within COCO and Visual Genome whether the conversation has boxes, written `[0.12, 0.3, 0.5, 0.61]`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

READING = ("ocr_vqa/", "textvqa/")
BOX = re.compile(r"\[[01]?\.\d+(, *[01]?\.\d+){3}\]")


def main() -> None:
    """Read, label, write, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    try:
        records = json.loads(given.source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(
            f"{given.source}: {getattr(error, 'strerror', None) or 'it is no JSON'}; README.md says where it is from"
        )
    labelled = [{**record, "task": task_of(record)} for record in records]
    given.target.write_text(json.dumps(labelled, ensure_ascii=False), encoding="utf-8")
    for task, count in Counter(record["task"] for record in labelled).most_common():
        print(f"{count:>9,}  {task}")


def task_of(record: dict[str, Any]) -> str:
    """A member of the prior's attribute `task`."""
    images = record.get("image") or []
    images = [images] if isinstance(images, str) else images
    if not images:
        return "text"
    if all(image.startswith(READING) for image in images):
        return "ocr"
    said = " ".join(turn["value"] for turn in record["conversations"])
    return "grounding" if BOX.search(said) else "vqa"


if __name__ == "__main__":
    main()
