"""Folders that are not what they should be: one error, with its place and a fix, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import dense

import dpsl
from dpsl.errors import UpcycleError
from dpsl.upcycle import upcycle_folder

Harm = Callable[[Path], object]


def config(**changes: object) -> Harm:
    return lambda folder: changed(folder / "config.json", lambda content: content.update(changes))


def text(content: str) -> Harm:
    return lambda folder: (folder / "config.json").write_text(content)


def index(change: Callable[[dict[str, Any]], object]) -> Harm:
    return lambda folder: changed(
        folder / "model.safetensors.index.json", lambda content: change(content["weight_map"])
    )


def changed(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def shard_of(folder: Path, name: str) -> Path:
    return folder / json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][name]


def spoil(name: str) -> Harm:
    def harm(folder: Path) -> None:
        tensors = load_file(shard_of(folder, name))
        tensors[name].view(-1)[:2] = torch.tensor([float("nan"), float("inf")])
        save_file(tensors, shard_of(folder, name), {"format": "pt"})

    return harm


def lose(name: str) -> Harm:
    def harm(folder: Path) -> None:
        tensors = load_file(shard_of(folder, name))
        del tensors[name]
        save_file(tensors, shard_of(folder, name), {"format": "pt"})
        index(lambda names: names.pop(name))(folder)

    return harm


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


UP, NORM = "model.layers.1.mlp.up_proj.weight", "model.norm.weight"
HARMS: dict[str, tuple[Harm, str]] = {
    "an empty folder": (empty, "dense: there is no config.json"),
    "no JSON": (text("{"), r"config.json: this is no JSON \(Expecting .* line 1"),
    "bytes": (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "config.json: this is no JSON"),
    "a list": (text("[]"), "config.json: it states no `model_type`"),
    "a number": (text("3"), "config.json: it states no `model_type`"),
    "an unknown model type": (config(model_type="wat"), "no model that can be built .*wat"),
    "no architecture": (config(architectures=None), "`architectures` is None; it is a list"),
    "an architecture of text": (config(architectures="LlamaForCausalLM"), "it is a list such as"),
    "an architecture that is a number": (config(architectures=[3]), r"`architectures` is \[3\]"),
    "an architecture that is no model": (config(architectures=["AutoConfig"]), "'AutoConfig' is not known"),
    "two architectures": (config(architectures=["GPT2LMHeadModel"]), "no model of `model_type` 'llama'"),
    "a width of text": (config(hidden_size="x"), r"config.json: .*\(TypeError: Field 'hidden_size' expected int"),
    "heads that do not divide": (config(num_attention_heads=0), "can be built .*ZeroDivisionError"),
    "an unknown activation": (config(hidden_act="nope"), "can be built .*nope"),
    "another width": (config(intermediate_size=96), r"gate_proj.weight is \[48, 32\], and config.json makes it \[96, 32\]"),
    "another vocabulary": (config(vocab_size=99), r"embed_tokens.weight is \[48, 32\], .* \[99, 32\]"),
    "more layers": (config(num_hidden_layers=3), "no weights for model.layers.2.input_layernorm.weight,.* and 6 more"),
    "fewer layers": (config(num_hidden_layers=1), "holds model.layers.1.*states num_hidden_layers=1"),
    "a shard above": (index(lambda names: names.update({UP: "../x.safetensors"})), f"looks for {UP} outside of the"),
    "a shard elsewhere": (index(lambda names: names.update({UP: "/x.safetensors"})), "outside of the folder, in '/x"),
    "a tensor that no shard holds": (
        index(lambda names: names.update(nope=names[UP])), "index.json: no shard holds nope, which it lists"
    ),
    "an empty index": (index(dict.clear), "index.json: it lists no weights"),
    "a lost FFN": (lose(UP), f"no weights for {UP}"),
    "a lost norm": (lose(NORM), f"no weights for {NORM}"),
    "NaN in an FFN": (spoil(UP), f"safetensors: {UP}: 2 of its 1,536 values are NaN or infinite"),
    "NaN elsewhere": (spoil(NORM), f"{NORM}: 2 of its 32 values are NaN"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("dense")
    torch.manual_seed(0)
    dense("Llama").save_pretrained(folder, max_shard_size="10KB")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def source(whole: dict[str, bytes], tmp_path: Path) -> Path:
    folder = tmp_path / "dense"
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("case", HARMS)
def test_damage_is_told_and_leaves_nothing(source: Path, case: str) -> None:
    harm, message = HARMS[case]
    harm(source)
    with pytest.raises(UpcycleError, match=message) as caught:
        upcycle_folder(source, source.parent / "moe")
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    assert [path.name for path in source.parent.iterdir()] == ["dense"]


def test_a_file_in_a_folder_s_place(source: Path) -> None:
    with pytest.raises(UpcycleError, match=r"config\.json: this is a file; name a checkpoint folder"):
        upcycle_folder(source / "config.json", source.parent / "moe")
    with pytest.raises(UpcycleError, match="nowhere: there is no such folder"):
        upcycle_folder(source.parent / "nowhere", source.parent / "moe")


def test_a_branch_that_is_damaged(source: Path) -> None:
    with pytest.raises(UpcycleError, match=r"nowhere: there is no model\.safetensors"):
        upcycle_folder(
            source,
            source.parent / "moe",
            method="btx",
            experts=2,
            branches=[source, source.parent / "nowhere"],
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularty": 4}, "granularty=4: there is no such option; did you mean 'granularity'"),
        ({"granularty": 4, "sede": 1}, "2 options cannot be:\n.*granularty.*\n.*did you mean 'seed'"),
        ({"shared_expert": "no", "noise": "x"}, "2 options cannot be"),
        ({"method": "btx", "branches": "abc"}, r"branches=\['abc'\]: .* here are 1"),
        (
            {"method": "btx", "branches": [dense(), dense()]},
            "branches=.*they are dense models or their folders",
        ),
    ],
)
def test_options_are_looked_at_first(tmp_path: Path, options: dict[str, object], message: str) -> None:
    dense("Llama").save_pretrained(tmp_path / "dense")
    with pytest.raises(UpcycleError, match=message):
        upcycle_folder(tmp_path / "dense", tmp_path / "moe", **options)
    assert not (tmp_path / "moe").exists()


def test_tied_and_untied_weights_are_told_apart(tmp_path: Path) -> None:
    """A tied output has no weights of its own in the folder; an untied one must."""
    dense("Llama", tie_word_embeddings=True).save_pretrained(tmp_path / "dense")
    upcycle_folder(tmp_path / "dense", tmp_path / "moe")
    assert dpsl.load_model(tmp_path / "moe").config.tie_word_embeddings
    config(tie_word_embeddings=False)(tmp_path / "dense")
    with pytest.raises(UpcycleError, match=r"no weights for lm_head\.weight"):
        upcycle_folder(tmp_path / "dense", tmp_path / "other")
