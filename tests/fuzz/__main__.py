"""`python -m tests.fuzz --count 1000000`: texts of every kind, until one breaks the compiler.

Each text has two seconds of CPU. A text that breaks something is written to `fuzz-failure.prior` or `.yaml`, with
the seed that made it, and the run stops. Runs with one seed try the same texts; `--progress FILE` keeps how far
a run has come, and the next run with that file goes on from there.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import sys
import time
from functools import lru_cache
from pathlib import Path
from types import FrameType

from priorlang.semantics import imports
from priorlang.syntax import parse, reformat
from tests.fuzz.check import check
from tests.fuzz.texts import corpus, text_of

LIMIT_SECONDS = 2
ROUND = 10_000


def main() -> int:
    """Run; exit with 1 on a failure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--progress", type=Path)
    given = options.parse_args()
    # One text is read, laid out and read again; reading it once is half of the work.
    imports.parse = reformat.parse = lru_cache(maxsize=32)(parse)  # type: ignore[assignment]
    signal.signal(signal.SIGPROF, _too_slow)
    files = corpus()
    begin, counts, slowest = _progress(given.progress, given.seed)
    began = time.process_time()
    for number in range(begin, given.count):
        name, text = text_of(random.Random(f"{given.seed}:{number}"), files)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
        start = time.process_time()
        try:
            counts[check(name, text)] += 1
        except Exception as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            kept = Path(f"fuzz-failure{Path(name).suffix}")
            kept.write_text(text, encoding="utf-8", errors="surrogatepass")
            print(f"seed {given.seed}, text {number}: {type(error).__name__}: {error}\nkept as {kept}")
            return 1
        slowest = max(slowest, time.process_time() - start)
        if number % ROUND == ROUND - 1:
            signal.setitimer(signal.ITIMER_PROF, 0)
            state = {"seed": given.seed, "done": number + 1, "counts": dict(counts), "slowest": slowest}
            print(f"{state} {time.process_time() - began:.0f} s of CPU", flush=True)
            if given.progress is not None:
                given.progress.write_text(json.dumps(state), encoding="utf-8")
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"{given.count:,} texts without a crash or a hang: {dict(counts)}; slowest {slowest:.2f} s of CPU")
    return 0


def _progress(file: Path | None, seed: int) -> tuple[int, collections.Counter[str], float]:
    """How far a run has come: texts done, what they were, and the CPU seconds of the slowest."""
    if file is None or not file.is_file():
        return 0, collections.Counter(), 0.0
    state = json.loads(file.read_text(encoding="utf-8"))
    if state["seed"] != seed:
        sys.exit(f"{file} is the progress of seed {state['seed']}, not of {seed}")
    return state["done"], collections.Counter(state["counts"]), state["slowest"]


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS} seconds")


if __name__ == "__main__":
    sys.exit(main())
