"""One job of a grid: a run folder, from wherever it stands to its end.

python -m dpsl.grid.job JOB.json
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsl.errors import DpslError
from dpsl.grid.take_over import note_keys, take_over
from dpsl.train.processes import end_with_parent, prepare_process
from dpsl.train.run_folder import PLAN, RunFolder, RunFolderError
from priorlang.diagnostics.finding import PriorError
from priorlang.training.plan import TrainingPlan

if TYPE_CHECKING:
    from dpsl.train.stage_data import DataRoom

BEFORE_A_PLAN = frozenset({"train.yaml", "environment.json", "stages", ".lock"})
"""What a run folder may hold before its plan does, beside its priors; what a kill then left is begun again."""


@dataclass(frozen=True)
class JobFile:
    """What a job's process is told.

    Attributes:
        output: the grid's folder.
        shared: the folder of shared stages.
        plan: what is trained.
        keys: content address of each stage.
        processes: ranks.
        report: whether a report is written at the end.
    """

    output: Path
    shared: Path
    plan: TrainingPlan
    keys: dict[str, str]
    processes: int
    report: bool

    def to_json(self) -> dict[str, Any]:
        """What `of_json` reads."""
        return {
            "output": str(self.output),
            "shared": str(self.shared),
            "plan": self.plan.model_dump(mode="json"),
            "keys": self.keys,
            "processes": self.processes,
            "report": self.report,
        }

    @classmethod
    def of_json(cls, given: Mapping[str, Any]) -> JobFile:
        """From what `to_json` wrote."""
        plan = TrainingPlan.model_validate(given["plan"])
        output, shared = Path(given["output"]), Path(given["shared"])
        return cls(output, shared, plan, given["keys"], given["processes"], given["report"])


def run_job(job: JobFile) -> None:
    """Train a job to its end.

    Raises:
        DpslError: anything the user can mend.
        PriorError: a prior that cannot be used.
    """
    from dpsl.evaluate.run import evaluate_pending
    from dpsl.train.launch import launch

    run = RunFolder(job.plan.output_dir)
    data = None if run.plan.is_file() else _prepare(job)
    note_keys(run, job.keys)
    for name in take_over(run, job.output, job.shared):
        print(f"{name}: taken over", flush=True)  # noqa: T201  (the job's log)
    launch(run.path, job.processes, data=data)
    evaluate_pending(run.path, quiet=True)
    if job.report:
        from dpsl.report import write_report

        write_report(run.path)


def _prepare(job: JobFile) -> DataRoom | None:
    """Check the plan as `priorlang train` does, and make its folder; the data that was read on the way."""
    from dpsl.train.preflight import preflight
    from dpsl.train.prepare import prepare_run
    from priorlang.training.priors import compiled_priors
    from priorlang.training.render import render_plan

    _clear(job.plan.output_dir)
    tables = compiled_priors(job.plan)
    with tempfile.TemporaryDirectory() as scratch:
        data = preflight(job.plan, tables, job.processes, Path(scratch)).room
    run = prepare_run(job.plan, render_plan(job.plan), tables, job.processes)
    if data is not None:
        data.keep_in(run.tokens)
    return data


def _clear(folder: Path) -> None:
    """Remove what a kill left of a run that had no plan yet; anything else is somebody's."""
    if not folder.is_dir() or (folder / PLAN).exists():
        return
    for entry in folder.iterdir():
        if entry.name not in BEFORE_A_PLAN and not entry.name.startswith(("prior.", f"{PLAN}.")):
            reason = f"this folder holds `{entry.name}` and no run"
            raise RunFolderError(str(folder), reason, "move it away, or name another output_dir")
    shutil.rmtree(folder)


def main() -> None:
    """The command line of a job's process."""
    end_with(int(sys.argv[2]))
    # A launcher's variables would make every job one of its ranks.
    prepare_process()
    try:
        run_job(JobFile.of_json(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    except DpslError as error:
        _say(f"error: {error}")
        os._exit(1)
    except PriorError as error:
        _say("\n".join(f"error: {finding.message}" for finding in error.findings))
        os._exit(1)


def end_with(parent: int) -> None:
    """End this process when its parent dies, or now where it has died while this one started."""
    end_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  (the job's log)


if __name__ == "__main__":
    main()
