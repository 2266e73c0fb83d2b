"""Start a run: in this process, as one of a launcher's ranks, or as several under torchrun."""

from __future__ import annotations

import logging
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dpsl.errors import DpslError
from dpsl.train.faults import how_to_resume
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
    """Torchrun through its Python interface: a failed worker becomes one message, not torchrun's own."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable(logging.CRITICAL)
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
    except SignalException as interrupted:
        raise KeyboardInterrupt from interrupted
    except ChildFailedError as error:
        exits = {rank: failure.exitcode for rank, failure in error.failures.items()}
    else:
        return
    finally:
        logging.disable(logging.NOTSET)
    _tell(exits, processes, run)


def _tell(exits: Mapping[int, int], processes: int, run: Path) -> NoReturn:
    """End as the first process that failed by itself; of one that was killed, speak for it.

    Args:
        exits: rank → exit code, negative for a signal.
        processes: how many there were.
        run: the run folder.

    Raises:
        LaunchError: a process was killed.
    """
    from dpsl.train.worker import LOST

    own = {rank: code for rank, code in exits.items() if code != LOST} or dict(exits)
    rank, code = min(own.items(), key=lambda item: (item[1] >= 0, item[0]))
    if code > 0 and code != LOST:
        sys.exit(code)
    reason = "lost the others" if code == LOST else f"was killed by {signal.Signals(-code).name}"
    if code == -signal.SIGKILL:
        reason += ", as the kernel does when memory runs out"
    raise LaunchError(f"process {rank} of {processes}", reason, how_to_resume(run))
