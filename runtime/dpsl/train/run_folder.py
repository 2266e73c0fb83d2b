"""A run folder: where everything is, and writing that a kill at any moment cannot spoil.

    plan.json train.yaml prior.prior prior.safetensors environment.json audit.json metrics.jsonl
    routing.safetensors report.html model/ tokens/
    stages/NAME/  checkpoint-N/ model/ audit.json routing.safetensors samples.safetensors done.json

A file appears whole or not at all: it is written beside its place and renamed. `done.json` and
`checkpoint-N/complete.json` are written last, so what they stand for is complete.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpsl.errors import DpslError

PLAN, COMPLETE, DONE, LOCK = "plan.json", "complete.json", "done.json", ".lock"


class RunFolderError(DpslError):
    """A run folder cannot be written, is in use, or is not what it should be."""


@dataclass(frozen=True)
class StageFolder:
    """The part of a run that belongs to one stage."""

    path: Path

    @property
    def model(self) -> Path:
        """The model at the end of the stage, once it is there."""
        return self.path / "model"

    @property
    def routing(self) -> Path:
        """Routing at the end of the stage, of held-out tokens or, without any, of some it was trained on."""
        return self.path / "routing.safetensors"

    @property
    def samples(self) -> Path:
        """Some of these tokens' routing probabilities, and how alike the experts are."""
        return self.path / "samples.safetensors"

    @property
    def audit(self) -> Path:
        """What the audit at the start of the stage saw."""
        return self.path / "audit.json"

    @property
    def receipt(self) -> Path:
        """What upcycling did at the start of the stage, where it did."""
        return self.path / "receipt.json"

    @property
    def mlflow(self) -> Path:
        """Which run of MLflow the stage logs to, where it does."""
        return self.path / "mlflow.json"

    @property
    def evaluation(self) -> Path:
        """Scores on benchmarks, where the stage's model has taken any."""
        return self.path / "evaluation.json"

    @property
    def prior_table(self) -> Path:
        """The stage's own prior, where it is not the run's."""
        return self.path / "prior.safetensors"

    @property
    def done(self) -> bool:
        """Whether nothing is left to do here."""
        return (self.path / DONE).is_file()

    def mark_done(self, summary: Mapping[str, Any]) -> None:
        """Say that the stage is complete."""
        write_json(self.path / DONE, summary)

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint after `step` optimizer steps."""
        return self.path / f"checkpoint-{step}"

    def checkpoints(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        found = self.path.glob(f"checkpoint-*/{COMPLETE}")
        return sorted(int(marker.parent.name.removeprefix("checkpoint-")) for marker in found)

    def complete_checkpoint(self, step: int, keep: int, **written_under: Any) -> None:
        """Mark a checkpoint complete, with what it was written under, and delete all but the last `keep`."""
        write_json(self.checkpoint(step) / COMPLETE, {"step": step, **written_under})
        for old in self.checkpoints()[:-keep]:
            self._drop(old)

    def written_under(self, step: int) -> dict[str, Any]:
        """What a complete checkpoint was written under."""
        return dict(json.loads((self.checkpoint(step) / COMPLETE).read_text(encoding="utf-8")))

    def drop_unfinished(self) -> None:
        """Delete what a kill left half-written."""
        complete = set(self.checkpoints())
        for folder in self.path.glob("checkpoint-*"):
            step = folder.name.removeprefix("checkpoint-")
            if not step.isdecimal() or int(step) not in complete:
                shutil.rmtree(folder)
        for folder in self.path.glob("*.writing"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()

    def _drop(self, step: int) -> None:
        (self.checkpoint(step) / COMPLETE).unlink()
        shutil.rmtree(self.checkpoint(step))


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def plan(self) -> Path:
        """The resolved plan that the run's processes read."""
        return self.path / PLAN

    @property
    def train_yaml(self) -> Path:
        """The resolved training file, for people."""
        return self.path / "train.yaml"

    @property
    def prior_table(self) -> Path:
        """The compiled prior."""
        return self.path / "prior.safetensors"

    @property
    def environment(self) -> Path:
        """Versions, machine and processes."""
        return self.path / "environment.json"

    @property
    def audit(self) -> Path:
        """What the audit at the start of shaping saw."""
        return self.path / "audit.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def routing(self) -> Path:
        """The last routing statistics."""
        return self.path / "routing.safetensors"

    @property
    def tokens(self) -> Path:
        """Large data as it was read, while the run lasts."""
        return self.path / "tokens"

    @property
    def tensorboard(self) -> Path:
        """Events for TensorBoard, a folder for each stage."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The page that sums the run up."""
        return self.path / "report.html"

    @property
    def model(self) -> Path:
        """The final model, once it is there."""
        return self.path / "model"

    def stage(self, name: str) -> StageFolder:
        """The folder of one stage."""
        return StageFolder(self.path / "stages" / name)

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one line to metrics.jsonl, in one write."""
        line = json.dumps(row, ensure_ascii=False) + "\n"
        with self.metrics.open("ab", buffering=0) as file:
            file.write(line.encode())

    def rewind_metrics(self, stages: Sequence[str], stage: str, step: int) -> None:
        """Drop a half-written last line and every row that will be written again.

        Args:
            stages: names of all stages in order.
            stage: where the run goes on.
            step: the last step of it that stays.
        """
        if not self.metrics.exists():
            return
        place = {name: index for index, name in enumerate(stages)}
        kept = [
            line
            for line, row in read_metric_lines(self.metrics)
            if (place.get(row.get("stage", ""), -1), row.get("step", 0)) <= (place[stage], step)
        ]
        write_text(self.metrics, "".join(line + "\n" for line in kept))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one run at a time.

        Raises:
            RunFolderError: another process trains in it.
        """
        with (self.path / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunFolderError(
                    str(self.path),
                    "another process is training in this folder",
                    "wait for it, or end it first",
                ) from None
            yield


def refuse_folder(path: Path) -> None:
    """Refuse a folder that holds something, or that cannot be made.

    Raises:
        RunFolderError: it is one of those.
    """
    if path.is_dir() and any(path.iterdir()):
        if (path / PLAN).is_file():
            fix = f"continue it with `--resume {path}`, or name another output_dir"
            raise RunFolderError(str(path), "this folder already holds a run", fix)
        if (path / LOCK).is_file():
            fix = "delete it, or name another output_dir"
            raise RunFolderError(str(path), "a run was stopped here before it had begun", fix)
        raise RunFolderError(str(path), "this folder is not empty", "name a new one as output_dir")
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        reason = f"cannot write the run folder: {there} is no folder that can be written"
        raise RunFolderError(str(path), reason, "name another output_dir")


def create_run_folder(path: Path) -> RunFolder:
    """Make a new, empty run folder.

    Raises:
        RunFolderError: the folder holds something, or cannot be written.
    """
    refuse_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / LOCK).write_text("")
    except OSError as error:
        reason = f"cannot write the run folder ({error.strerror or error})"
        raise RunFolderError(str(path), reason, "name an output_dir that can be written") from None
    return RunFolder(path)


def open_run_folder(path: Path) -> RunFolder:
    """The folder of a run that has begun.

    Raises:
        RunFolderError: there is no run in it, or it cannot be written.
    """
    run = RunFolder(path)
    if not run.plan.is_file():
        raise RunFolderError(
            str(path),
            "no run to resume here (there is no plan.json)",
            "give the folder of a run, or the training file as well, which begins one",
        )
    if not os.access(path, os.W_OK):
        raise RunFolderError(str(path), "this run folder cannot be written", "change its permissions")
    return run


def read_metrics(run: RunFolder) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl; a half-written last line is left out."""
    return [row for _, row in read_metric_lines(run.metrics)] if run.metrics.exists() else []


def read_metric_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each complete line and its object, up to the first that is broken."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            return
        yield line, row


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A place beside `path` to write a file or folder to; it takes `path`'s place at the end."""
    beside = path.with_name(path.name + ".writing")
    if beside.is_dir():
        shutil.rmtree(beside)
    yield beside
    _flush(beside)
    if beside.is_dir() and path.is_dir():
        shutil.rmtree(path)
    beside.replace(path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
