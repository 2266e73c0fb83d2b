"""The language: a cold `priorlang validate` beside yamllint, and how reading grows with the file.

Times are user plus system seconds of a process, or of a call: another program on the machine slows the clock
on the wall, and these less. Every program runs with its byte code compiled, as an installed one is, and the
programs take turns.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from priorlang.phases import Prior
from priorlang.syntax import SourceFile, parse
from priorlang.syntax.reformat import rewritten
from priorlang.syntax.source import read_source

ROUNDS = 9
SPEC = Path(__file__).parents[2] / "specs" / "task.prior"
RULES = (250, 500, 1000, 2000)


def main() -> None:
    """Print the ratio to yamllint, and seconds per thousand rules."""
    cold_start()
    growth()


def cold_start() -> None:
    """One 40-line file: `priorlang validate` of either form against `yamllint` of the YAML form."""
    with tempfile.TemporaryDirectory() as folder:
        prior = Path(folder, "task.prior")
        text = SPEC.read_text(encoding="utf-8")
        prior.write_text(text, encoding="utf-8")
        yaml = Path(folder, "task.yaml")
        yaml.write_text(rewritten(read_source(prior), str(yaml)), encoding="utf-8")
        tools = Path(sys.executable).parent
        commands = {
            "yamllint task.yaml": (str(tools / "yamllint"), "-d", "relaxed", str(yaml)),
            "priorlang validate task.yaml": (str(tools / "priorlang"), "validate", str(yaml)),
            "priorlang validate task.prior": (str(tools / "priorlang"), "validate", str(prior)),
            "python -c 'import numpy'": (sys.executable, "-c", "import numpy"),
            "python -c pass": (sys.executable, "-c", "pass"),
        }
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        seconds = least(commands, environment)
    base = seconds["yamllint task.yaml"]
    lines = len(text.splitlines())
    print(f"cold start on a file of {lines} lines: times yamllint's ({base * 1e3:.0f} ms of CPU); at most 2")
    for name, value in seconds.items():
        print(f"  {name:<32} {value / base:5.2f}")


def least(commands: dict[str, tuple[str, ...]], environment: dict[str, str]) -> dict[str, float]:
    """The least CPU time of each command over several rounds, the first of which is not counted."""
    rounds = [[cpu_of(command, environment) for command in commands.values()] for _ in range(ROUNDS + 1)]
    return {name: min(times) for name, times in zip(commands, zip(*rounds[1:], strict=True), strict=True)}


def cpu_of(command: tuple[str, ...], environment: dict[str, str]) -> float:
    """User and system seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=False, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def growth() -> None:
    """Reading, and reading with every check, for more and more rules."""
    print("rules, then CPU seconds to parse and to find everything; per 1000 rules")
    for count in RULES:
        source = SourceFile("many.prior", many_rules(count))
        parsing = min(cpu(lambda source=source: parse(source)) for _ in range(3))
        whole = min(cpu(lambda source=source: Prior(source).findings) for _ in range(3))
        scale = 1000 / count
        print(f"  {count:>5} {parsing:7.2f} {whole:7.2f}   {parsing * scale:7.2f} {whole * scale:7.2f}")


def cpu(call: object) -> float:
    """CPU seconds of a call."""
    assert callable(call)
    start = time.process_time()
    call()
    return time.process_time() - start


def many_rules(count: int) -> str:
    """A prior with many rules, each for one data set."""
    members = ", ".join(f"d{index}" for index in range(count))
    head = (
        "priorlang 1\nmodel { layers = 24  experts = 16  top_k = 4 }\n"
        f"attribute dataset {{ {members} }}\nattribute modality {{ vision, language }}\n"
        "default base 0.75 weight 0.01\n"
    )
    rules = (
        f"rule r{index}: for dataset d{index} and modality vision in layers {index % 20}.. "
        f"prefer {index % 16} by 0.5 avoid {(index + 3) % 16} by 0.1"
        for index in range(count)
    )
    return head + "\n".join(rules) + "\n"


if __name__ == "__main__":
    main()
