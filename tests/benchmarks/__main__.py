"""Run every module of this package that has a `main`, or those named."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module

import tests.benchmarks


def run(names: list[str]) -> None:
    """Run the named benchmarks, or all, one after the other."""
    found = [module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__)]
    known = [name for name in found if not name.startswith("_")]
    unknown = sorted(set(names) - set(known))
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    for name in names or known:
        import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    run(sys.argv[1:])
