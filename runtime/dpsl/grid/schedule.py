"""Starts a process for each job of a grid, a few at a time, each after the one it goes on from."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dpsl.errors import DpslError
from dpsl.grid.job import JobFile
from dpsl.grid.take_over import finished_stages, most_finished, noted_keys
from dpsl.train.run_folder import RunFolder, open_run_folder, write_json
from priorlang.grid.forecast import Standing
from priorlang.grid.jobs import Job
from priorlang.training.differences import differences
from priorlang.training.plan import TrainingPlan

JOB = ("-m", "dpsl.grid.job")
"""What Python runs for a job, with its file as the argument."""
RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt)\b")
"""How the last line of a traceback begins."""
POLL_S = 0.2
DEVICES = "CUDA_VISIBLE_DEVICES"
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `error` is empty where it is done; `seconds` is None where it was done before."""

    job: Job
    error: str = ""
    seconds: float | None = None


@dataclass
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    since: float


def run_jobs(
    jobs: Sequence[Job],
    output: Path,
    shared: Path,
    *,
    slots: int = 1,
    processes: int = 1,
    on_start: Callable[[Job], None] = lambda _: None,
    on_end: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Bring every job to its end, as far as it can be; a crash of one stops only those that go on from it.

    Args:
        jobs: each after the one it goes on from.
        output: the grid's folder, locked by the caller.
        shared: the folder of shared stages.
        slots: jobs at a time.
        processes: ranks of each.
        on_start: told of each job that starts.
        on_end: told of each that ends or need not start.

    Returns:
        One outcome per job, in their order.
    """
    outcomes: dict[int, Outcome] = {}
    waiting, running = list(jobs), list[_Running]()

    def ended(outcome: Outcome) -> None:
        outcomes[id(outcome.job)] = outcome
        on_end(outcome)

    try:
        while waiting or running:
            for item in [item for item in running if item.process.poll() is not None]:
                running.remove(item)
                ended(_outcome(item, output))
            for job in list(waiting):
                before = outcomes.get(id(job.after)) if job.after else None
                if job.after and before is None:
                    continue
                if before is None or not before.error:
                    if is_done(job, output, shared):
                        waiting.remove(job)
                        ended(Outcome(job))
                    elif len(running) < slots:
                        waiting.remove(job)
                        on_start(job)
                        slot = min(set(range(slots)) - {item.slot for item in running})
                        devices = devices_of(slot, slots, processes, os.environ.get(DEVICES, ""))
                        running.append(_start(job, output, shared, processes, slot, devices))
                else:
                    waiting.remove(job)
                    ended(Outcome(job, f"not begun, since {before.job.name} failed"))
            if running:
                time.sleep(POLL_S)
    finally:
        _stop(running)
    return [outcomes[id(job)] for job in jobs]


def is_done(job: Job, output: Path, shared: Path) -> bool:
    """Whether nothing is left to do for a job: for shared stages, whether any run of the grid has them."""
    if job.cell is None:
        names = [stage.name for stage in job.plan.stages]
        return most_finished(dict(zip(names, job.keys, strict=True)), output, shared)[0] == len(names)
    run = RunFolder(job.folder)
    begun = run.plan.is_file() and finished_stages(job.folder) == len(job.keys)
    return begun and run.model.is_dir() and run.report.is_file()


def standing(job: Job, output: Path, shared: Path) -> Standing:
    """How far a job is, for a forecast."""
    done = is_done(job, output, shared)
    if done or job.cell is None:
        names = [stage.name for stage in job.plan.stages]
        finished = most_finished(dict(zip(names, job.keys, strict=True)), output, shared)[0]
    else:
        finished = finished_stages(job.folder) if RunFolder(job.folder).plan.is_file() else 0
    left = len(job.own_stages) - max(0, finished - (len(job.keys) - len(job.own_stages)))
    return Standing(done, 0 if done else left)


def devices_of(slot: int, slots: int, processes: int, visible: str) -> str:
    """The devices of a slot, where CUDA_VISIBLE_DEVICES names some for several: as many as a job has processes."""
    every = [device for device in visible.split(",") if device]
    if slots == 1 or len(every) < 2:
        return visible
    first = slot * processes
    return ",".join(dict.fromkeys(every[(first + place) % len(every)] for place in range(processes)))


def refuse_changed(jobs: Iterable[Job]) -> None:
    """Refuse to go on with a cell that began with other settings or other data.

    Raises:
        RunFolderError: the cell's folder is no run that can be written.
        DpslError: it began differently.
    """
    for job in jobs:
        if not RunFolder(job.folder).plan.is_file():
            continue
        run = open_run_folder(job.folder)
        known = TrainingPlan.model_validate_json(run.plan.read_text(encoding="utf-8"))
        keys = noted_keys(job.folder)
        changed = differences(known, job.plan)
        if not changed and keys and list(keys.values()) != list(job.keys):
            changed = ["its data, its priors or an installed version"]
        if changed and (not keys or list(keys.values()) != list(job.keys)):
            raise DpslError(
                str(job.folder),
                f"{job.name} began with something else: {', '.join(changed)}",
                "undo the change, give the variant another name, or delete this folder to train it again",
            )


def _start(job: Job, output: Path, shared: Path, processes: int, slot: int, devices: str) -> _Running:
    own = job.folder.relative_to(output) if job.cell else Path("shared", job.folder.name)
    base = output / "jobs" / re.sub(r"[^A-Za-z0-9.+-]+", ".", str(own))
    names = [stage.name for stage in job.plan.stages]
    file = JobFile(
        output,
        shared,
        job.plan,
        dict(zip(names, job.keys, strict=True)),
        processes,
        report=job.cell is not None,
    )
    write_json(base.with_name(base.name + ".json"), file.to_json())
    log = base.with_name(base.name + ".log").open("wb")
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    if devices:
        environment[DEVICES] = devices
    command = [sys.executable, *JOB, str(base) + ".json", str(os.getpid())]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    return _Running(job, slot, process, log, time.monotonic())


def _outcome(item: _Running, output: Path) -> Outcome:
    item.log.close()
    code = item.process.returncode
    seconds = time.monotonic() - item.since
    if code == 0:
        return Outcome(item.job, "", seconds)
    said = f"killed by {signal.Signals(-code).name}" if code < 0 else _last_error(Path(item.log.name))
    return Outcome(item.job, f"{said} (see {Path(item.log.name).relative_to(output)})", seconds)


def _last_error(log: Path) -> str:
    """What stopped the job: its error, or what its last traceback ends in; libraries may talk on after either."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    raised = [line for line in lines if RAISED.match(line)]
    said = (errors or raised or lines[-1:] or ["it said nothing"])[-1].strip()
    return said if len(said) <= 400 else said[:400] + "…"


def _stop(running: Sequence[_Running]) -> None:
    for item in running:
        item.process.terminate()
    for item in running:
        try:
            item.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            item.process.kill()
            item.process.wait()
        item.log.close()
