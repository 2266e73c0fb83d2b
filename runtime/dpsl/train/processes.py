"""What must be true of a process before DeepSpeed is imported, and helpers between ranks."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


_LAUNCHED = "RANK" in os.environ and "WORLD_SIZE" in os.environ


def distributed_by_launcher() -> bool:
    """Whether torchrun, deepspeed or accelerate started this process; `prepare_process` does not count."""
    return _LAUNCHED


def prepare_process() -> None:
    """Set up the environment that DeepSpeed reads, quietly. Call it before anything imports DeepSpeed."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if "RANK" not in os.environ:
        # Without these DeepSpeed looks for MPI.
        os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()))
    import torch

    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        if "OMP_NUM_THREADS" not in os.environ:
            # As under torchrun: threads that wait for each other stall whenever anything else runs. In the
            # environment too, for accelerate sets the number again.
            os.environ["OMP_NUM_THREADS"] = "1"
            torch.set_num_threads(1)
    _skip_inference_kernel()
    _quieten()


def end_with_parent() -> None:
    """Have the kernel end this process when its launcher dies, so that no orphan writes on (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def rank() -> int:
    """The number of this process among all."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def barrier() -> None:
    """Wait until every rank is here."""
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.barrier()


def first_on_main(work: Callable[[], Result]) -> Result | None:
    """Do `work` on rank 0 while the others wait; its result there, None elsewhere."""
    try:
        return work() if rank() == 0 else None
    finally:
        barrier()


def launched_together(work: Callable[[], Result]) -> Result | None:
    """Do `work` once: on rank 0 where a launcher started several processes, which then all go on or all stop.

    Returns:
        What `work` did; None on the other ranks.

    Raises:
        DpslError: `work` failed with one, on rank 0. The other ranks exit.
    """
    if not distributed_by_launcher():
        return work()
    prepare_process()
    import deepspeed
    import torch.distributed as dist

    from dpsl.errors import DpslError

    deepspeed.init_distributed(verbose=False)
    done: Result | None = None
    failure: DpslError | None = None
    if rank() == 0:
        try:
            done = work()
        except DpslError as error:
            failure = error
    told: list[Any] = [failure is not None]
    dist.broadcast_object_list(told, src=0)
    if failure is not None:
        raise failure
    if told[0]:
        sys.exit(1)
    return done


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _skip_inference_kernel() -> None:
    """Leave out the shared-memory kernel, which only inference uses and which takes minutes to compile."""
    import deepspeed
    from deepspeed.accelerator import get_accelerator

    if get_accelerator().device_name() == "cpu":
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _quieten() -> None:
    import transformers
    from deepspeed.utils import logger

    logger.setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch|deepspeed|accelerate")
