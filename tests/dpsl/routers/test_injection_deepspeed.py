"""Under DeepSpeed and transformers' Trainer, in one process and two: gradients are those of explicit summation.

Stage meets accumulation in every pair, and checkpointing and precision take turns. DeepSpeed's own mixtures, native MoE and
AutoEP, run with as many expert-parallel ranks as there are processes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
TOLERANCE = 1e-3
BF16_STEP = 2.0**-8
"""A native gate has fp32 logits and bf16 weights, whose gradient is rounded once for each of its uses."""
PATIENCE = 540
STAGES = (0, 1, 2, 3)
ACCUMULATIONS = (1, 2, 4, 8)
CHECKPOINTING = ("plain", "non-reentrant", "reentrant")


def _case(
    loop: str, kind: str, stage: int | None, place: int, accumulation: int, dtype: str
) -> dict[str, Any]:
    return {
        "loop": loop,
        "kind": kind,
        "stage": stage,
        "checkpointing": CHECKPOINTING[place % 3],
        "accumulation": accumulation,
        "dtype": dtype,
    }


CASES = [
    *(
        _case("raw", ("upcycled", "mixtral")[(place + place // 4) % 2], stage, place, accumulation, "fp32")
        for place, (accumulation, stage) in enumerate(product(ACCUMULATIONS, STAGES))
    ),
    *(
        _case("raw", "deepseek-v3", stage, stage, accumulation, "bf16")
        for stage, accumulation in ((1, 8), (2, 4), (3, 2))
    ),
    *(
        _case("trainer", kind, stage, place, accumulation, dtype)
        for place, (accumulation, stage, kind, dtype) in enumerate(
            [
                (1, None, "mixtral", "fp32"),
                (4, None, "upcycled", "fp32"),
                (8, 1, "upcycled", "bf16"),
                (2, 2, "mixtral", "fp32"),
                (4, 3, "upcycled", "fp32"),
                (8, 3, "mixtral", "bf16"),
            ]
        )
    ),
    *(
        {**_case("native", f"top-{k}", stage, place, accumulation, dtype), "k": k}
        for place, (k, stage, accumulation, dtype) in enumerate(
            [(1, 0, 1, "fp32"), (2, 1, 2, "fp32"), (3, 2, 4, "fp32"), (2, 2, 2, "bf16")]
        )
    ),
    _case("autoep", "mixtral", 0, 0, 2, "fp32"),
    _case("autoep", "deepseek-v3", 2, 0, 4, "fp32"),
    _case("autoep", "qwen3-moe", 3, 0, 1, "fp32"),
    _case("leaves", "upcycled", 3, 0, 1, "fp32"),
]


def _run(processes: int, folder: Path) -> list[dict[str, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cases, results = folder / "cases.json", folder / "results.json"
    cases.write_text(json.dumps(CASES))
    results.write_text("[]")
    workers, logs = [], []
    for rank in range(processes):
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        environment = {
            **os.environ,
            **{name: str(value) for name, value in group.items()},
            "MASTER_ADDR": "127.0.0.1",
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
        }
        logs.append((folder / f"{rank}.log").open("w+"))
        command = [sys.executable, str(HERE / "injection_worker.py"), str(cases), str(results)]
        workers.append(
            subprocess.Popen(command, env=environment, cwd=folder, stdout=logs[-1], stderr=subprocess.STDOUT)
        )
    _wait(workers)
    done = json.loads(results.read_text())
    tails = "\n".join(_tail(log) for log in logs)
    return done + [{"failed": f"did not finish\n{tails}"}] * (len(CASES) - len(done))


def _wait(workers: list[subprocess.Popen[bytes]]) -> None:
    """Until all have ended; where one fails or none moves on, the others are ended."""
    until = time.monotonic() + PATIENCE
    while any(worker.poll() is None for worker in workers):
        if time.monotonic() > until or any(worker.returncode for worker in workers):
            for worker in workers:
                worker.kill()
        time.sleep(0.2)


def _tail(log: Any) -> str:
    log.seek(0)
    text: str = log.read()[-2000:]
    log.close()
    return text


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """For each number of processes, the result of each case, run when first asked for."""
    known: dict[int, list[dict[str, Any]]] = {}

    def of(processes: int) -> list[dict[str, Any]]:
        if processes not in known:
            known[processes] = _run(processes, tmp_path_factory.mktemp("injection"))
        return known[processes]

    return of


@pytest.mark.parametrize(
    "place", range(len(CASES)), ids=["-".join(map(str, case.values())) for case in CASES]
)
@pytest.mark.parametrize("processes", [1, 2])
def test_gradients_are_those_of_explicit_summation(processes: int, place: int, results: Any) -> None:
    result = results(processes)[place]
    assert "failed" not in result, result["failed"]
    rounded = CASES[place]["loop"] == "native" and CASES[place]["dtype"] == "bf16"
    assert result["distance"] < (BF16_STEP if rounded else TOLERANCE)
    assert result["tokens"] == result["expected_tokens"]
