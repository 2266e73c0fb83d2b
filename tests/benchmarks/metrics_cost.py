"""What routing metrics and statistics cost of a training step, on one CPU thread, at two widths.

Both parts are timed within the same steps: everything that counts tokens, and `Shaper.metrics` itself, as a share of
forward, backward and optimizer. The shaping loss is no part of it. A row of metrics comes every tenth step.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import MixtralConfig, MixtralForCausalLM

import dpsl
import priorlang
from dpsl.shaping.whole_pass import WholePass

LAYERS, EXPERTS, STEPS, EVERY = 4, 8, 10, 10
PRIOR = f"""priorlang 1
model {{ layers = {LAYERS}  experts = {EXPERTS}  top_k = 2 }}
attribute modality {{ vision, language }}
default base 0.75 weight 0.01
rule vision: for modality vision prefer 0..3 by 0.5
"""


def main() -> None:
    """Print the share at each width."""
    torch.set_num_threads(1)
    print(f"metrics and statistics, {LAYERS} layers × {EXPERTS} experts: share of a training step's CPU time")
    for width in (128, 256):
        counting, rows = shares(width)
        print(f"width {width:5}: counting {counting:.2%}, rows of metrics {rows:.2%}")


def shares(width: int) -> tuple[float, float]:
    """Of the CPU time of `STEPS` steps, the parts of counting and of rows."""
    torch.manual_seed(0)
    model = MixtralForCausalLM(
        MixtralConfig(
            vocab_size=512, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=LAYERS,
            num_attention_heads=8, num_key_value_heads=4, num_local_experts=EXPERTS, num_experts_per_tok=2,
        )
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "metrics.prior").write_text(PRIOR)
        table = priorlang.compile(priorlang.load(Path(folder) / "metrics.prior"))
    shaper = dpsl.attach(model, table)
    counting, rows = Clock(WholePass._watch), Clock(shaper.metrics)
    WholePass._watch, whole = counting.method(), WholePass._watch
    input_ids = torch.randint(0, 512, (4, 256))
    modality = (torch.arange(256) > 100).long().expand(4, 256)
    try:
        for step in range(STEPS + 1):
            if step == 1:
                started, counting.seconds, rows.seconds = time.process_time(), 0.0, 0.0
            with shaper.tokens(modality=modality):
                loss = model(input_ids=input_ids, labels=input_ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if step % EVERY == 0:
                rows()
        total = time.process_time() - started
    finally:
        WholePass._watch = whole
    return counting.seconds / total, rows.seconds / total


class Clock:
    """A function that adds up its CPU seconds."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        started = time.process_time()
        try:
            return self._function(*arguments)
        finally:
            self.seconds += time.process_time() - started

    def method(self) -> Any:
        """The same as a method."""
        return lambda *arguments: self(*arguments)


if __name__ == "__main__":
    main()
