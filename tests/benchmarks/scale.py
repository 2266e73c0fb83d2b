"""What a prior takes on large models: its table, what ranks exchange, what a device holds. No weights are made.

    python -m tests.benchmarks scale

Models are built on the meta device and attached to; sizes are those of the real tensors. Processes over gloo then run
routers alone, of as many layers and experts, and count what they really exchange.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import transformers
from torch import Tensor, nn

import dpsl
import priorlang
from dpsl.routers.found import FoundRouter, Scoring
from dpsl.upcycle.block import Router

TOKENS = 8192
"""Tokens of a forward pass on one rank."""


@dataclass(frozen=True)
class Scale:
    """A model, and the members of the attribute that its prior distinguishes."""

    name: str
    layers: int
    experts: int
    top_k: int
    members: tuple[str, ...]


SCALES = (
    Scale("28 layers, 4 experts", 28, 4, 2, ("vision", "language")),
    Scale("28 layers, 16 experts", 28, 16, 8, ("vision", "language")),
    Scale("60 layers, 64 experts", 60, 64, 8, ("vision", "language")),
    Scale("60 layers, 64 experts", 60, 64, 8, ("vision", "language", "audio", "video")),
)


def main() -> None:
    """Print both tables."""
    print(f"{TOKENS:,} tokens of a forward pass on each rank; MB of 10^6 bytes")
    heads = ("parameters", "populations", "table", "logits", "histograms", "statistics", "exchanged")
    print(f"{'':24}" + " ".join(f"{head:>12}" for head in heads))
    for scale in SCALES:
        print(f"{scale.name:24}" + " ".join(f"{cell:>12}" for cell in sizes(scale)))
    print("\nrouters alone over gloo: what each rank put into all-reduces in one forward pass")
    for ranks, scale in ((2, SCALES[2]), (4, SCALES[1])):
        calls, sent, said = exchanged(scale, ranks)
        print(
            f"{ranks} ranks, {scale.name}: {calls} all-reduces, {mb(sent)}; bytes_exchanged says {mb(said)}"
        )


def sizes(scale: Scale) -> list[str]:
    """The cells of a row."""
    table = prior_of(scale)
    model = meta_model(scale)
    shaper = dpsl.attach(model, table)
    populations = len(table.header.populations)
    bins = populations * scale.experts * 1024
    with tempfile.TemporaryDirectory() as folder:
        table.save(Path(folder) / "table.safetensors")
        on_disk = (Path(folder) / "table.safetensors").stat().st_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return [
        f"{parameters / 1e9:.1f} B",
        f"{populations}",
        mb(on_disk),
        mb(scale.layers * TOKENS * scale.experts * 4),
        mb(3 * bins * 4),  # counts, and the target at both edges of each bin
        mb(bins * 4),
        mb(shaper.bytes_exchanged(ranks=2)),
    ]


def prior_of(scale: Scale) -> Any:
    """Each member prefers a share of the experts of its own."""
    share = scale.experts // len(scale.members)
    lines = [
        "priorlang 1",
        f"model {{ layers = {scale.layers}  experts = {scale.experts}  top_k = {scale.top_k} }}",
        f"attribute modality {{ {', '.join(scale.members)} }}",
        "default base 0.75 weight 0.01",
    ]
    for place, member in enumerate(scale.members):
        lines.append(f"experts of_{member} = {place * share}..{(place + 1) * share - 1}")
        lines.append(f"rule {member}: for modality {member} prefer of_{member} by 0.5")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.prior"
        path.write_text("\n".join(lines) + "\n")
        return priorlang.compile(priorlang.load(path))


def meta_model(scale: Scale) -> nn.Module:
    """A mixture of that shape, without memory."""
    config = transformers.Qwen3MoeConfig(
        num_hidden_layers=scale.layers, num_experts=scale.experts, num_experts_per_tok=scale.top_k,
        hidden_size=4096 if scale.layers == 60 else 1536, moe_intermediate_size=1536, num_attention_heads=32,
        num_key_value_heads=4, head_dim=128, vocab_size=151_936, decoder_sparse_step=1, mlp_only_layers=[],
    )  # fmt: skip
    with torch.device("meta"):
        return transformers.Qwen3MoeForCausalLM(config)


class Routers(nn.Module):
    """As many routers as the model has layers, and nothing else."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Router(8, scale.experts, scale.top_k, like=torch.zeros(1)) for _ in range(scale.layers)
        )
        for layer in self.layers:
            nn.init.normal_(layer.weight)

    def forward(self, hidden_NH: Tensor) -> dict[str, Tensor]:
        return {"loss": sum((layer(hidden_NH)[1].sum() for layer in self.layers), torch.zeros(()))}


def exchanged(scale: Scale, ranks: int) -> tuple[int, int, int]:
    """All-reduces of a forward pass, their bytes, and the bytes that the shaper says."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        said = context.SimpleQueue()
        workers = [
            context.Process(target=_work, args=(rank, ranks, folder, scale, said)) for rank in range(ranks)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found: tuple[int, int, int] = said.get()
        return found


def _work(rank: int, ranks: int, folder: str, scale: Scale, said: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    model = Routers(scale)
    routers = [
        FoundRouter(f"layers.{i}", layer, i, scale.experts, scale.top_k, 0, "own", Scoring.SOFTMAX)
        for i, layer in enumerate(model.layers)
    ]
    shaper = dpsl.attach(model, prior_of(scale), routers=routers)
    sent: list[int] = []
    all_reduce = dist.all_reduce

    def counted(tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        sent.append(tensor.numel() * tensor.element_size())
        return all_reduce(tensor, *arguments, **options)

    dist.all_reduce = counted
    with shaper.tokens(modality=torch.randint(0, len(scale.members), (1, 256))):
        model(torch.randn(256, 8))
    dist.all_reduce = all_reduce
    if rank == 0:
        said.put((len(sent), sum(sent), shaper.bytes_exchanged()))
    dist.barrier()
    dist.destroy_process_group()


def mb(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
