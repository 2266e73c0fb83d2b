"""Write the digits example: images, questions, texts and a model folder, in LLaVA's own format.

    python examples/digits/prepare.py [--output FOLDER] [--scans N]

Everything comes from scikit-learn's package; nothing is downloaded. The same versions of the libraries
give the same bytes. A folder that is already complete and unchanged is left alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import questions
from questions import Picture, Record
from render import COLOURS, Scan, load_scans, render, split_scans

HERE = Path(__file__).resolve().parent
MANIFEST = "manifest.json"
SCRIPTS = ("prepare.py", "questions.py", "render.py", "tiny_model.py")
SEED = 20251001
RENDERINGS = 8
"""Pictures per training scan, two in each colour; a held-out scan has one."""
PASSAGE_CHARACTERS = 80


def main() -> None:
    """Prepare the data, unless it is there."""
    arguments = _arguments()
    output: Path = arguments.output.resolve()
    settings = _settings(arguments.scans)
    if output.exists() and any(output.iterdir()):
        if not (output / MANIFEST).is_file():
            raise SystemExit(f"{output} holds files that this script did not write; name another --output")
        if _complete(output, settings):
            print(f"{output}: already complete and unchanged")
            return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        built = Path(scratch) / "data"
        summary = build(built, arguments.scans)
        _write_json(built / MANIFEST, {**settings, "content": _digest(built)})
        if output.exists():
            output.rename(Path(scratch) / "old")
        built.rename(output)
    print(f"{output}:")
    for line in summary:
        print(f"  {line}")


def build(output: Path, scan_limit: int | None) -> list[str]:
    """Write everything but the manifest, and say what was written."""
    rng = np.random.default_rng(SEED)
    training, held_out = split_scans(load_scans(scan_limit), rng)
    pictures = _draw(training, output / "images" / "train", RENDERINGS, rng)
    unseen = _draw(held_out, output / "images" / "heldout", 1, rng)
    records = _records(pictures, unseen, rng)
    for name, content in records.items():
        _write_json(output / f"{name}.json", content)

    from tiny_model import write_model_folder

    spoken = [
        turn["value"] for content in records.values() for r in content for turn in r.get("conversations", [])
    ]
    write_model_folder(output / "model", (f" {text}" for text in spoken))
    counts = [f"{name}.json: {len(content):,} records" for name, content in records.items()]
    return [
        f"images: {len(pictures):,} of {len(training):,} training scans, {len(unseen):,} of held-out scans",
        *counts,
        "model: configuration, tokenizer and processor, no weights",
    ]


def _records(
    pictures: list[Picture], unseen: list[Picture], rng: np.random.Generator
) -> dict[str, list[Record]]:
    """Every file's records. Tasks take turns over the pictures, so that each sees every scan, differently drawn."""
    instruct = [
        *questions.digit_questions(pictures[0::2], rng),
        *questions.larger_questions(pictures[1::2], rng),
        *questions.parity_questions(pictures[2::4], rng),
        *questions.colour_questions(pictures[3::4], rng),
    ]
    heldout = [
        *questions.digit_questions(unseen, rng),
        *questions.larger_questions(unseen, rng),
        *questions.parity_questions(unseen, rng),
        *questions.colour_questions(unseen, rng),
        *questions.captions(unseen, rng),
    ]
    text, heldout_text = questions.text_questions(rng)
    content = {
        "caption": questions.captions(pictures[1::2], rng),
        "instruct": instruct,
        "text": text + questions.caption_sentences(),
        "prose": questions.prose_passages(_descriptions(), PASSAGE_CHARACTERS),
        "heldout": heldout,
        "heldout-text": heldout_text,
    }
    shuffled = {name: questions.numbered(name, records, rng) for name, records in content.items()}
    return {
        "labels": questions.labels_of(pictures),
        "heldout-labels": questions.labels_of(unseen),
        **shuffled,
    }


def _draw(scans: list[Scan], folder: Path, renderings: int, rng: np.random.Generator) -> list[Picture]:
    folder.mkdir(parents=True)
    names = list(COLOURS)
    pictures = []
    for number, scan in enumerate(scans):
        first = int(rng.integers(len(names)))
        for turn in range(renderings):
            colour = names[(first + turn) % len(names)]
            file = folder / f"{number:04d}-{turn}-{colour}.png"
            render(scan, colour, rng).save(file)
            pictures.append(Picture(f"{folder.name}/{file.name}", scan.digit, colour))
    return pictures


def _descriptions() -> list[str]:
    """The data-set descriptions that scikit-learn ships, in the order of their file names."""
    folder = files("sklearn.datasets") / "descr"
    pages = sorted(
        (page for page in folder.iterdir() if page.name.endswith(".rst")), key=lambda page: page.name
    )
    return [page.read_text(encoding="utf-8") for page in pages]


def _settings(scans: int | None) -> dict[str, object]:
    """What the data depends on: the scripts, the seed, the libraries."""
    scripts = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in SCRIPTS))
    libraries = {
        name: version(name) for name in ("numpy", "pillow", "scikit-learn", "tokenizers", "transformers")
    }
    return {"scans": scans, "seed": SEED, "scripts": scripts.hexdigest(), "libraries": libraries}


def _complete(output: Path, settings: dict[str, object]) -> bool:
    try:
        manifest = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return bool(manifest == {**settings, "content": _digest(output)})


def _digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of every file but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _write_json(path: Path, content: object) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write the data and the model folder of the digits example.")
    parser.add_argument(
        "--output", type=Path, default=HERE / "data", help="folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--scans", type=int, default=None, help="use only the first N scans, for a quick look"
    )
    arguments = parser.parse_args()
    if arguments.scans is not None and arguments.scans < 20:
        parser.error("--scans: at least 20, so that every digit occurs in both halves")
    return arguments


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
