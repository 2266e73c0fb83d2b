"""Start a run: in this process, as one of a launcher's ranks, or as several under torchrun."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from dpsl.errors import DpslError
from dpsl.train.processes import distributed_by_launcher

if TYPE_CHECKING:
    from dpsl.train.stage_data import DataRoom


class LaunchError(DpslError):
    """A worker process ended badly."""


def launch(run: Path, processes: int = 1, *, quiet: bool = False, data: DataRoom | None = None) -> None:
    """Train the run that `run` describes, to its end.

    Args:
        run: a run folder with its plan, from `prepare_run`.
        processes: ranks to start on this machine; without effect where a launcher already started this one.
        quiet: no progress.
        data: what a preflight has read already; only of use to this very process.

    Raises:
        DpslError: anything the user can mend.
    """
    if processes == 1 or distributed_by_launcher():
        from dpsl.train.worker import train_run

        train_run(run, quiet=quiet, data=data)
    else:
        _under_torchrun(run, processes, quiet)


def _under_torchrun(run: Path, processes: int, quiet: bool) -> None:
    """Torchrun through its Python interface: a failed worker becomes one message, not torchrun's traceback."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    options = ["--quiet"] if quiet else []
    try:
        elastic_launch(config, sys.executable)("-m", "dpsl.train.worker", str(run), *options)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise LaunchError(
            f"process {rank} of {processes}",
            f"ended with exit code {failure.exitcode}",
            f"see its message above; `--resume {run}` continues from the last checkpoint",
        ) from None
