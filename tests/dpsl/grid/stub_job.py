"""Stands in for a job's process: writes the run folder that training would leave, as its variant's name says."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

from dpsl.grid.job import JobFile, end_with
from dpsl.grid.take_over import note_keys, take_over
from dpsl.train.run_folder import RunFolder, write_json, write_text


def main() -> None:
    """Take over what there is, "train" the rest, or fail as asked in `fail.json` of the grid's folder."""
    end_with(int(sys.argv[2]))
    job = JobFile.of_json(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    run = RunFolder(job.plan.output_dir)
    asked = job.output / "fail.json"
    failing = json.loads(asked.read_text(encoding="utf-8")) if asked.is_file() else {}
    how = next((how for part, how in failing.items() if part in str(run.path)), None)
    write_json(run.environment, {"processes": 1})
    write_json(run.plan, job.plan.model_dump(mode="json"))
    note_keys(run, job.keys)
    taken = take_over(run, job.output, job.shared)
    if how == "error":
        sys.exit("error: layer 3: router logits hold NaN; lower the learning rate")
    if how == "traceback":
        atexit.register(print, "a library leaked 4 instances", file=sys.stderr)
        raise ZeroDivisionError("by zero")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        time.sleep(60)
    for name in job.keys:
        stage = run.stage(name)
        if name in taken or stage.done:
            continue
        write_text(stage.model / "weights", f"{name} {os.getpid()}")
        run.append_metrics({"stage": name, "eval_accuracy": 0.5})
        stage.mark_done({"stage": name})
    write_text(run.model / "weights", "final")
    write_text(run.report, "report")


if __name__ == "__main__":
    main()
