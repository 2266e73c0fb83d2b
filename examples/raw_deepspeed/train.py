"""A DeepSpeed loop of one's own with a prior in it; any launcher starts it."""

import argparse
from pathlib import Path

import dpsl
import priorlang

dpsl.prepare_process()  # before DeepSpeed: a single process needs no launcher, a CPU compiles nothing

import deepspeed  # noqa: E402
import torch  # noqa: E402
from scans import SHAPE, VOCABULARY, batches  # noqa: E402
from transformers import MixtralConfig, MixtralForCausalLM  # noqa: E402


def main() -> None:
    """Train a small mixture of experts to read digits, and say how it routes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--local_rank", help=argparse.SUPPRESS)  # the deepspeed launcher gives it
    options = parser.parse_args()
    deepspeed.init_distributed(verbose=False)
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(0)
    model = MixtralForCausalLM(MixtralConfig(vocab_size=VOCABULARY, **SHAPE))
    config = {
        "train_micro_batch_size_per_gpu": 8 // ranks,
        "gradient_accumulation_steps": options.accumulation,
        "zero_optimization": {"stage": 2},
        "optimizer": {"type": "AdamW", "params": {"lr": 3e-3, "torch_adam": True}},
    }
    engine, *_ = deepspeed.initialize(model=model, config=config)
    table = priorlang.compile(priorlang.load(Path(__file__).with_name("scans.prior")))
    shaper = dpsl.attach(model, table, window=options.accumulation)
    data = batches(8 // ranks, rank, ranks)
    for step in range(1, options.steps + 1):
        for _ in range(options.accumulation):
            batch = next(data)
            with shaper.tokens(**batch.pop("token_attributes")):
                loss = engine(**batch).loss
            engine.backward(loss)  # the shaping gradient comes with it
            engine.step()
        row = shaper.metrics(across_ranks=True)
        if rank == 0 and step % max(options.steps // 3, 1) == 0:
            print(
                f"step {step}: loss {loss.item():.3f}, dpsl {row['dpsl']:.4f}, top1 {row['top1_score']:.3f}"
            )
        if step == options.steps - 10:
            shaper.reset_statistics()
    statistics = shaper.statistics()  # of all ranks, over the last steps
    if rank == 0:
        for name, load_K in zip(statistics.group_name, statistics.load, strict=True):
            print(f"{name}: {100 * load_K[:2].sum() / load_K.sum():.0f} % of its slots to experts 0 and 1")


if __name__ == "__main__":
    main()
