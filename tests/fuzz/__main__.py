"""`python -m tests.fuzz --count 1000000`: damaged priors, until one breaks the compiler.

Each text has two seconds. A text that breaks something is written to `fuzz-failure.prior` or `.yaml`, with the
seed that made it, and the run stops. Runs with one seed try the same texts.
"""

from __future__ import annotations

import argparse
import collections
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tests.fuzz.check import check
from tests.fuzz.texts import corpus, text_of

LIMIT_SECONDS = 2


def main() -> int:
    """Run; exit with 1 on a failure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    signal.signal(signal.SIGALRM, _too_slow)
    files, counts = corpus(), collections.Counter[str]()
    began, slowest = time.perf_counter(), 0.0
    for number in range(given.count):
        rng = random.Random(f"{given.seed}:{number}")
        name, text = text_of(rng, files)
        signal.alarm(LIMIT_SECONDS)
        start = time.perf_counter()
        try:
            counts[check(name, text)] += 1
        except Exception as error:
            signal.alarm(0)
            kept = Path(f"fuzz-failure{Path(name).suffix}")
            kept.write_text(text, encoding="utf-8")
            print(f"seed {given.seed}, text {number}: {type(error).__name__}: {error}\nkept as {kept}")
            return 1
        slowest = max(slowest, time.perf_counter() - start)
        if number % 20_000 == 19_999:
            seconds = time.perf_counter() - began
            print(
                f"{number + 1:,} texts, {seconds:.0f} s, slowest {slowest:.2f} s, {dict(counts)}", flush=True
            )
    signal.alarm(0)
    print(f"{given.count:,} texts without a crash or a hang: {dict(counts)}; slowest {slowest:.2f} s")
    return 0


def _too_slow(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {LIMIT_SECONDS} seconds")


if __name__ == "__main__":
    sys.exit(main())
