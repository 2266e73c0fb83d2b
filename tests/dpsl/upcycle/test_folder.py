"""Checkpoint folder to checkpoint folder: the same as in memory, to the bit, and never half of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_models import dense, llava
from torch import nn

import dpsl
from dpsl.errors import UpcycleError
from dpsl.upcycle import upcycle_folder

MODELS: dict[str, Callable[[], nn.Module]] = {
    "Llama": lambda: dense("Llama", mlp_bias=True),
    "Qwen2 tied": lambda: dense("Qwen2", tie_word_embeddings=True),
    "Phi3": lambda: dense("Phi3"),
    "LLaVA": llava,
}


def saved(name: str, folder: Path, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Path:
    """A dense checkpoint in many shards, with files around it."""
    torch.manual_seed(seed)
    model = MODELS[name]().to(dtype)
    model.save_pretrained(folder, max_shard_size="10KB")
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE"):
        (folder / file).write_text(f"{{}} {file}")
    (folder / "pytorch_model.bin").write_text("old weights")
    return folder


def test_what_the_folder_holds(tmp_path: Path) -> None:
    source = saved("Qwen2 tied", tmp_path / "dense")
    receipt = upcycle_folder(source, tmp_path / "moe")
    files = {file.name for file in (tmp_path / "moe").iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE"} <= files
    assert {"generation_config.json", "modeling_upcycled.py", "block.py", "receipt.json"} <= files
    assert not files & {"pytorch_model.bin", "README.md"}
    assert not list(tmp_path.glob("*.writing"))
    index = json.loads((tmp_path / "moe" / "model.safetensors.index.json").read_text())
    found = {}
    for file in (tmp_path / "moe").glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            assert opened.metadata() == {"format": "pt"}
            for name in opened.keys():  # noqa: SIM118
                found[name] = (file.name, opened.get_tensor(name))
    assert index["weight_map"] == {name: file for name, (file, _) in found.items()}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for _, tensor in found.values())
    assert "lm_head.weight" not in found
    assert {str(tensor.dtype) for _, tensor in found.values()} == {"torch.bfloat16"}
    stored = json.loads((tmp_path / "moe" / "receipt.json").read_text())
    assert stored["parameters_after"] == receipt.parameters_after
    assert stored["layers"] == [0, 1]


def break_nothing(source: Path) -> None:
    """Leave the folder as it is."""


def break_shard(source: Path) -> None:
    file = sorted(source.glob("*.safetensors"))[2]
    file.write_bytes(file.read_bytes()[:-100])


def lose_shard(source: Path) -> None:
    sorted(source.glob("*.safetensors"))[2].unlink()


def lose_weights(source: Path) -> None:
    for file in source.glob("*.safetensors*"):
        file.unlink()


def spoil_index(source: Path) -> None:
    (source / "model.safetensors.index.json").write_text("[]")


def lose_config(source: Path) -> None:
    (source / "config.json").unlink()


def other_architecture(source: Path) -> None:
    dense("Gemma", head_dim=8).save_pretrained(source)


def quantize(source: Path) -> None:
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8"}
    (source / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("harm", "options", "message"),
    [
        (break_shard, {}, r"model-00003-of.*this shard cannot be read .*download"),
        (lose_shard, {}, r"model-00003-of.*this shard is missing"),
        (lose_weights, {}, "its weights are no safetensors; load the model and save it"),
        (spoil_index, {}, "this is no index of safetensors"),
        (lose_config, {}, "there is no config.json"),
        (
            other_architecture,
            {},
            "GemmaForCausalLM: this architecture cannot be upcycled.*Llama, Qwen2 or Phi3",
        ),
        (quantize, {}, "its weights are quantized; upcycle a checkpoint in bf16"),
        (break_nothing, {"granularity": 5, "experts": 10, "top_k": 5}, "48 wide"),
        (break_nothing, {"layers": [2]}, "no dense FFN in layer 2"),
    ],
)
def test_what_cannot_be_used_leaves_nothing(
    harm: Callable[[Path], None], options: dict[str, object], message: str, tmp_path: Path
) -> None:
    source = saved("Llama", tmp_path / "dense")
    harm(source)
    with pytest.raises(UpcycleError, match=message):
        upcycle_folder(source, tmp_path / "moe", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved("Llama", tmp_path / "dense")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UpcycleError, match="bytes are needed and 1,000 are free; make room"):
        upcycle_folder(source, tmp_path / "moe")
    monkeypatch.undo()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dpsl.upcycle.shards.save_file", full)
    with pytest.raises(UpcycleError, match=r"No space left on device.*check space"):
        upcycle_folder(source, tmp_path / "moe")
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_killed_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model under the final name; what was written beside it is cleared by the next one."""
    source = saved("Llama", tmp_path / "dense")
    written: list[Path] = []

    def save_some(tensors: dict[str, torch.Tensor], file: Path, metadata: dict[str, str]) -> None:
        if len(written) == 3:
            os._exit(9)
        written.append(file)
        save_file(tensors, file, metadata)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr("dpsl.upcycle.shards.save_file", save_some)
        upcycle_folder(source, tmp_path / "moe")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"dense", "moe.writing"}
    upcycle_folder(source, tmp_path / "moe")
    assert {path.name for path in tmp_path.iterdir()} == {"dense", "moe"}
    assert dpsl.upcycle.load_model(tmp_path / "moe").config.upcycled["experts"] == 4


MEASURED = """
import resource, sys
from pathlib import Path
import torch, transformers
from safetensors.torch import save_file
from dpsl.upcycle import upcycle_folder

for layers in (2, 14):
    source, target = (Path(sys.argv[1]) / f"{kind}-{layers}" for kind in ("dense", "moe"))
    config = transformers.LlamaConfig(vocab_size=64, hidden_size=128, intermediate_size=1024, num_hidden_layers=layers,
                                      num_attention_heads=2, num_key_value_heads=1, architectures=["LlamaForCausalLM"])
    config.save_pretrained(source)
    with torch.device("meta"):
        shapes = transformers.LlamaForCausalLM(config).state_dict()
    save_file({name: torch.zeros(w.shape) for name, w in shapes.items()}, source / "model.safetensors")
    upcycle_folder(source, target, experts=8)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_that_of_a_layer_however_many_there_are(tmp_path: Path) -> None:
    """Fourteen layers of 13.5 MiB each, of which a few layers' worth is ever in memory."""
    finished = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    two, fourteen = map(int, finished.stdout.split())
    layer = 9 * 3 * 128 * 1024 * 4 // 1024
    assert fourteen - two < 3 * layer
    shutil.rmtree(tmp_path)


def test_a_taken_target_is_left_alone(tmp_path: Path) -> None:
    source = saved("Llama", tmp_path / "dense")
    (tmp_path / "moe").mkdir()
    (tmp_path / "moe" / "mine.txt").write_text("mine")
    with pytest.raises(UpcycleError, match="something is there already"):
        upcycle_folder(source, tmp_path / "moe")
    assert [file.name for file in (tmp_path / "moe").iterdir()] == ["mine.txt"]
    (tmp_path / "moe" / "mine.txt").unlink()
    upcycle_folder(source, tmp_path / "moe")
    assert (tmp_path / "moe" / "config.json").is_file()
