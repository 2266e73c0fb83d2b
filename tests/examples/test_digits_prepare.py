"""The digits example's data: LLaVA's format, split by scan, the same bytes each time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from digits_example import PREPARE, prepare_digits
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

LISTS = ("caption", "instruct", "text", "prose", "heldout", "heldout-text")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def records(data: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((data / f"{name}.json").read_text(encoding="utf-8"))


def images_of(record: dict[str, Any]) -> list[str]:
    image = record.get("image", [])
    return [image] if isinstance(image, str) else image


@pytest.mark.parametrize("name", LISTS)
def test_every_record_is_llava_s_format(digits_data: Path, name: str) -> None:
    for record in records(digits_data, name):
        assert set(record) <= {"id", "image", "conversations", "dataset", "task"}
        assert record["dataset"]
        assert record["task"]
        shown = sum(turn["value"].count("<image>") for turn in record["conversations"])
        assert shown == len(images_of(record))
        assert record["conversations"][-1]["from"] == "gpt"
        for image in images_of(record):
            assert (digits_data / "images" / image).is_file()


@pytest.mark.parametrize("name", [*LISTS, "labels", "heldout-labels"])
def test_ids_are_unique(digits_data: Path, name: str) -> None:
    assert max(Counter(record["id"] for record in records(digits_data, name)).values()) == 1


def test_held_out_scans_are_never_trained_on(digits_data: Path) -> None:
    trained = {
        i
        for name in ("caption", "instruct", "labels")
        for r in records(digits_data, name)
        for i in images_of(r)
    }
    held_out = {
        i for name in ("heldout", "heldout-labels") for r in records(digits_data, name) for i in images_of(r)
    }
    assert {Path(image).parts[0] for image in trained} == {"train"}
    assert {Path(image).parts[0] for image in held_out} == {"heldout"}


def test_held_out_text_questions_are_never_trained_on(digits_data: Path) -> None:
    def asked(name: str) -> set[str]:
        return {record["conversations"][0]["value"] for record in records(digits_data, name)}

    assert asked("heldout-text")
    assert not asked("heldout-text") & asked("text")


def test_answers_agree_with_the_labels(digits_data: Path) -> None:
    digit = {record["image"]: record["labels"]["digit"] for record in records(digits_data, "heldout-labels")}
    right = {
        "digit": lambda digits: WORDS[digits[0]],
        "parity": lambda digits: ("even", "odd")[digits[0] % 2],
        "larger": lambda digits: WORDS[max(digits)],
        "caption": lambda digits: WORDS[digits[0]],
    }
    seen = Counter()
    for record in records(digits_data, "heldout"):
        if record["task"] in right:
            answer = record["conversations"][1]["value"].split()[-1]
            assert answer == right[record["task"]]([digit[image] for image in images_of(record)])
            seen[record["task"]] += 1
    assert set(seen) == set(right)


def test_images_show_what_the_labels_say(digits_data: Path) -> None:
    """The strongest channels of an image are those of its colour: red, green, blue, yellow."""
    strongest = {0: {0}, 1: {1}, 2: {2}, 3: {0, 1}}
    for record in records(digits_data, "labels")[:50]:
        image = Image.open(digits_data / "images" / record["image"])
        assert image.size == (32, 32)
        means = [sum(channel.get_flattened_data()) for channel in image.split()]
        top = sorted(range(3), key=lambda c: -means[c])[: len(strongest[record["labels"]["colour"]])]
        assert set(top) == strongest[record["labels"]["colour"]]


def test_the_model_folder_loads(digits_data: Path) -> None:
    processor = AutoProcessor.from_pretrained(digits_data / "model")
    config = AutoConfig.from_pretrained(digits_data / "model")
    model = AutoModelForImageTextToText.from_config(config)
    image = Image.open(digits_data / "images" / records(digits_data, "heldout-labels")[0]["image"])
    inputs = processor(
        images=[image], text="<user><image>\nWhich digit is this?<assistant>", return_tensors="pt"
    )
    assert int((inputs["input_ids"] == config.image_token_id).sum()) == 16
    assert model(**inputs).logits.shape[-1] == len(processor.tokenizer) == 1024


def test_answer_words_are_one_token(digits_data: Path) -> None:
    tokenizer = AutoProcessor.from_pretrained(digits_data / "model").tokenizer
    for word in (*WORDS, "even", "odd", "red", "green", "blue", "yellow"):
        assert len(tokenizer(f" {word}").input_ids) == 1


def test_a_damaged_copy_is_made_again_to_the_byte(digits_data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "digits"
    shutil.copytree(digits_data, copy)
    assert "already complete" in prepare_digits(copy)
    (copy / "text.json").write_text("[]")
    assert "already complete" not in prepare_digits(copy, PYTHONHASHSEED="7")
    for file in (path for path in digits_data.rglob("*") if path.is_file()):
        assert (copy / file.relative_to(digits_data)).read_bytes() == file.read_bytes(), file
    assert len(list(copy.rglob("*"))) == len(list(digits_data.rglob("*")))


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    finished = subprocess.run(
        [sys.executable, str(PREPARE), "--output", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode != 0
    assert "did not write" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
