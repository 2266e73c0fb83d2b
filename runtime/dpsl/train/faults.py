"""What goes wrong with the machine while a run trains, told as what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from dpsl.errors import DpslError
from dpsl.train.processes import rank, world_size
from dpsl.train.run_folder import RunFolder, RunFolderError, StageFolder

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
FULL_SAYS = ("No space left", "File too large", "quota exceeded", "PytorchStreamWriter failed writing")
BEGINNING = {"_prepare_deepspeed", "deepspeed_init"}
"""Functions of accelerate and transformers within which DeepSpeed reads its settings."""
MEMORY_SAYS = ("out of memory", "can't allocate memory")
PEER_SAYS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "ncclRemoteError",
    "gloo",
)


class MachineError(DpslError):
    """The machine did not give what training needs."""


class LostProcessError(DpslError):
    """Another process of the run has ended, and this one cannot go on without it."""


class DeepSpeedRefusalError(DpslError):
    """DeepSpeed does not begin with the settings that it was given."""


@contextmanager
def told_faults(run: RunFolder) -> Iterator[None]:
    """Within, faults of the machine become errors that say what to do; what a full disk left half-written goes.

    Raises:
        MachineError: the disk or the memory is full.
        LostProcessError: another process ended.
        DeepSpeedRefusalError: DeepSpeed refuses the settings, or cannot build what they ask for.
    """
    try:
        yield
    except DpslError:
        raise
    except (OSError, RuntimeError, MemoryError) as error:
        told = _told(error, run) or _refusal(error)
        if told is None:
            raise
        raise told from None
    except Exception as error:
        # safetensors has an error of its own for a disk that is full.
        if type(error).__name__ == "SafetensorError" and _says(error, FULL_SAYS):
            raise _full(run) from None
        refusal = _refusal(error)
        if refusal is None:
            raise
        raise refusal from None


def _told(error: BaseException, run: RunFolder) -> DpslError | None:
    if (isinstance(error, OSError) and error.errno in FULL) or _says(error, FULL_SAYS):
        return _full(run)
    if isinstance(error, MemoryError) or _says(error, MEMORY_SAYS):
        return MachineError(
            str(run.path),
            "the memory is full",
            "begin a new run with a smaller per_device_train_batch_size, and as many times more "
            "gradient_accumulation_steps; or with a higher ZeRO stage",
        )
    if world_size() > 1 and _says(error, PEER_SAYS):
        return LostProcessError(f"process {rank()}", "another process has ended", "see its message")
    return None


def _refusal(error: BaseException) -> DpslError | None:
    """What was raised while accelerate handed the settings to DeepSpeed."""
    names = {frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)}
    if not names & BEGINNING:
        return None
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DeepSpeedRefusalError(
        "DeepSpeed",
        f"it does not begin with these settings ({type(error).__name__}: {'; '.join(lines[:3])})",
        "mend `deepspeed` or `optim` in the training file; where an offloaded optimizer cannot be built, "
        "`deepspeed: {zero_optimization: {stage: 2}}` leaves it on the accelerator",
    )


def _full(run: RunFolder) -> MachineError:
    if rank() == 0:
        for stage in run.path.glob("stages/*"):
            StageFolder(stage).drop_unfinished()
    return MachineError(
        str(run.path),
        "the disk is full, or a limit of file sizes is reached; the half-written checkpoint was deleted",
        f"free some space, then {how_to_resume(run.path)}",
    )


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    return any(word in str(error) for word in words)


def how_to_resume(folder: Path) -> str:
    """The command that goes on with a run, and where it goes on."""
    return f"`priorlang train --resume {folder}` continues {standing(RunFolder(folder))}"


def standing(run: RunFolder) -> str:
    """Where a resumed run goes on."""
    if not run.plan.is_file():
        raise RunFolderError(str(run.path), "no run began here", "begin one")
    from priorlang.training.plan import TrainingPlan

    plan = TrainingPlan.model_validate_json(run.plan.read_text(encoding="utf-8"))
    for stage in plan.stages:
        folder = run.stage(stage.name)
        if not folder.done:
            checkpoints = folder.checkpoints()
            after = f"after step {checkpoints[-1]}" if checkpoints else "from its beginning"
            return f"stage {stage.name} {after}"
    return "at its end"


def interruption(folder: Path | None) -> str:
    """What an interrupted run says."""
    if folder is None or not RunFolder(folder).plan.is_file():
        return "interrupted before training began: there is nothing to resume"
    return f"interrupted; {how_to_resume(folder)}"
