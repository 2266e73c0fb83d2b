"""Checking: a prior with many rules over many cells, beside the time NumPy needs to build the match masks alone.

The masks are built twice: as one writes it, with `isin` over the code of every cell, and as fast as NumPy can, with
look-up tables that broadcast over the grid. Times are CPU seconds of one thread, interleaved, the least of several.
"""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import priorlang
from priorlang.phases import Prior
from priorlang.semantics.spec import Spec
from priorlang.syntax import SourceFile

LAYERS = 32
ROUNDS = 5
SMALL = (10, 10, 8)
"""25,600 cells of 32 layers."""


def main() -> None:
    """Print ratios to the masks, how both grow, and the memory of large ones."""
    ratios()
    growth()
    memory()


def ratios() -> None:
    """The figure that matters: 500 rules over 25,600 cells."""
    print("500 rules, 25,600 cells: CPU of every check, findings included, times that of the match masks")
    for name, text in (
        ("sound rules", program(500, SMALL)),
        ("overriding, redundant, weak, contested", program(500, SMALL, faults=True)),
    ):
        spec = resolved(text)
        found, fast, plain = best(
            lambda s=spec: priorlang.check(s), lambda s=spec: masks(s), lambda s=spec: isin_masks(s)
        )
        count = len(priorlang.check(spec))
        print(
            f"  {name:<40} {found / plain:5.2f} of isin ({plain * 1e3:.0f} ms), "
            f"{found / fast:5.2f} of broadcast ({fast * 1e3:.0f} ms); {count} findings"
        )


def growth() -> None:
    """CPU against rules and cells; the last column, per rules² × cells / 64, must not grow."""
    print("rules, cells: CPU ms of every check; ns per rules² × cells / 64")
    for rules, sizes in (
        (125, SMALL),
        (250, SMALL),
        (500, SMALL),
        (1000, SMALL),
        (500, (20, 20, 8)),
        (500, (40, 20, 16)),
    ):
        spec = resolved(program(rules, sizes))
        (found,) = best(lambda s=spec: priorlang.check(s), rounds=2)
        cells = LAYERS * spec.class_count
        print(f"  {rules:>5} {cells:>8,} {found * 1e3:9.0f} {found * 1e9 / (rules**2 * cells / 64):9.2f}")


def memory() -> None:
    """The most that checking holds at once, beside what one mask for each rule would; ten kinds of member in the last."""
    print("rules, cells: MiB at most while checking; MiB of the masks")
    for rules, sizes, kinds in ((500, SMALL, 0), (500, (40, 20, 16), 0), (500, (125, 25, 25), 10)):
        spec = resolved(program(rules, sizes, kinds=kinds))
        tracemalloc.start()
        start = time.process_time()
        priorlang.check(spec)
        seconds = time.process_time() - start
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        cells = LAYERS * spec.class_count
        print(
            f"  {rules:>5} {cells:>9,} {peak / 2**20:8.0f} {rules * cells / 2**20:8.0f}   ({seconds:.1f} s, traced)"
        )


def program(
    rules: int, sizes: tuple[int, ...], *, faults: bool = False, kinds: int = 0, seed: int = 0
) -> str:
    """Rules for random members, ranges of layers and experts.

    Args:
        rules: how many.
        sizes: the members of each attribute.
        faults: let a tenth override another, a tenth state what the default states, a tenth push next to nothing, and
            a tenth avoid what others prefer.
        kinds: tell members of an attribute apart no finer than this; 0: each from each.
        seed: of the random choices.
    """
    dice = random.Random(seed)
    names = "abc"[: len(sizes)]
    lines = ["priorlang 1", f"model {{ layers = {LAYERS}  experts = 8  top_k = 2 }}"]
    lines += [
        f"attribute {name} {{ {', '.join(f'{name}{member}' for member in range(size))} }}"
        for name, size in zip(names, sizes, strict=True)
    ]
    lines.append("default base 2 weight 0.01")
    for number in range(rules):
        terms = [
            f"{name} {' | '.join(members(dice, name, size, kinds))}"
            for name, size in dice.sample(list(zip(names, sizes, strict=True)), dice.randint(1, len(sizes)))
        ]
        first = dice.randrange(LAYERS)
        effect = f"prefer {dice.randrange(4)} | {dice.randrange(4, 8)} by {dice.randrange(5, 20) / 10}"
        overrides = ""
        if faults and number:
            kind = dice.randrange(10)
            if kind == 0:
                overrides = f" overrides r{dice.randrange(number)}"
            effect = {1: "weight 0.01", 2: "prefer 0 by 0.001", 3: "avoid 4 by 0.1"}.get(kind, effect)
        where = f"for {' and '.join(terms)} in layers {first}..{dice.randrange(first, LAYERS)}"
        lines.append(f"rule r{number}{overrides}: {where} {effect}")
    return "\n".join(lines) + "\n"


def members(dice: random.Random, name: str, size: int, kinds: int) -> list[str]:
    """Up to half of an attribute's members, whole kinds of them."""
    groups = min(kinds or size, size)
    chosen = set(dice.sample(range(groups), dice.randint(1, max(1, groups // 2))))
    return [f"{name}{member}" for member in range(size) if member * groups // size in chosen]


def resolved(text: str) -> Spec:
    """The prior that a text is."""
    return Prior(SourceFile("many.prior", text)).spec


def masks(spec: Spec) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[rules, cells], by look-up tables that broadcast over the grid."""
    sizes = (len(spec.model.routed), *(len(attribute.leaves) for attribute in spec.attributes))
    found = np.empty((len(spec.rules), *sizes), dtype=np.bool_)
    for position, rule in enumerate(spec.rules):
        mask = np.ones(sizes, dtype=np.bool_)
        terms = [(condition.attribute + 1, condition.codes) for condition in rule.where.conditions]
        if rule.where.layers is not None:
            terms.append((0, rule.where.layers))
        for axis, codes in terms:
            through = np.zeros(sizes[axis], dtype=np.bool_)
            through[list(codes)] = True
            shape = [1] * len(sizes)
            shape[axis] = -1
            mask &= through.reshape(shape)
        found[position] = mask
    return found.reshape(len(spec.rules), -1)


def isin_masks(spec: Spec) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[rules, cells], by `isin` over the codes of every cell."""
    sizes = (len(spec.model.routed), *(len(attribute.leaves) for attribute in spec.attributes))
    codes = np.indices(sizes).reshape(len(sizes), -1)
    found = np.ones((len(spec.rules), codes.shape[1]), dtype=np.bool_)
    for position, rule in enumerate(spec.rules):
        if rule.where.layers is not None:
            found[position] &= np.isin(codes[0], list(rule.where.layers))
        for condition in rule.where.conditions:
            found[position] &= np.isin(codes[condition.attribute + 1], list(condition.codes))
    return found


def best(*calls: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The least CPU seconds of each call, taken in turns."""
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            start = time.process_time()
            call()
            least[number] = min(least[number], time.process_time() - start)
    return least


if __name__ == "__main__":
    main()
