"""Upcycle a checkpoint folder into another, one layer in memory at a time."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.api import count
from dpsl.upcycle.block import block_like
from dpsl.upcycle.branches import as_list, check_alike
from dpsl.upcycle.classes import become_upcycled
from dpsl.upcycle.decoder import dense_ffns
from dpsl.upcycle.ffn import width_of
from dpsl.upcycle.fill import fill_replica, fill_shared, layer_generator, start_router
from dpsl.upcycle.modeling_upcycled import put_blocks
from dpsl.upcycle.new_folder import whole_or_not_at_all
from dpsl.upcycle.plan import UpcyclePlan, plan_of, resolved
from dpsl.upcycle.receipt import BlockCheck, Receipt, check_block, make_receipt
from dpsl.upcycle.router_copies import copied_routers
from dpsl.upcycle.shards import Checkpoint, ShardWriter, open_checkpoint
from dpsl.upcycle.skeleton import check_weights, skeleton_of

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".index.json")
NOT_COPIED = ("config.json", "README.md", "receipt.json")
FFN_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?layers\.)(?P<layer>\d+)\.mlp\.(?P<rest>(gate_proj|up_proj|down_proj|gate_up_proj)\..+)"
)


def upcycle_folder(source: str | Path, target: str | Path, **options: Any) -> Receipt:
    """Upcycle a checkpoint, folder to folder, with the memory of about one upcycled layer.

    Weights keep their dtype and their names; experts take their FFN's. Tokenizer and generation files are copied,
    and `receipt.json` is added. The result is what `dpsl.upcycle` and `save_pretrained` would give, to the bit.

    Args:
        source: a folder with config.json and safetensors; for `btx` its weights are not used.
        target: a new folder. It appears when it is complete.
        options: those of `dpsl.upcycle`. `branches` are folders.

    Raises:
        UpcycleError: an option, the model or a file cannot be used. Nothing is left at the target; all options that
            cannot be are named at once.
    """
    asked = plan_of({**options, **_folders(options)})
    skeleton: Any = skeleton_of(Path(source))
    ffns = dense_ffns(skeleton)
    plan = resolved(asked, {index: width_of(ffn) for index, ffn in ffns.items()})
    dense = _open_all(plan.branches or (str(source),))
    check_weights(skeleton, dense[0])
    routers = copied_routers(plan.router_from, plan, ffns) if plan.router_from is not None else {}
    before = count(skeleton)
    put_blocks(skeleton, plan.to_config())
    become_upcycled(skeleton, plan.to_config())
    blocks: dict[int, Any] = {index: skeleton.get_decoder().layers[index].mlp for index in plan.routed}
    inactive = sum((plan.experts - plan.top_k) * count(block.experts[0]) for block in blocks.values())

    names = _ffn_names(dense[0], {layer: ffns[layer] for layer in plan.routed})
    groups = list(_groups(dense[0], {name for layer in names.values() for name in layer.values()}))
    size = count(skeleton) * max(stored.itemsize for stored in dense[0].tensors.values())
    read = (Path(source), *(checkpoint.folder for checkpoint in dense))
    with whole_or_not_at_all(Path(target), size, read) as beside, torch.no_grad():
        writer = ShardWriter(beside, len(groups) + len(plan.routed))
        for group in groups:
            writer.write(_mean(dense, group))
        checks = []
        for layer in plan.routed:
            tensors, check = _layer(ffns[layer], dense, names[layer], layer, plan, routers.get(layer))
            writer.write(tensors)
            checks.append(check)
        writer.finish()
        receipt = make_receipt(plan, checks, before, count(skeleton), inactive)
        (beside / "receipt.json").write_text(receipt.to_json(), encoding="utf-8")
        _copy_files(Path(source), beside)
        _save_config(skeleton, beside)
    return receipt


def _folders(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name folders, as texts; a model in memory stays what it is, to be complained of."""
    branches = as_list(options.get("branches", ()))
    return {
        "branches": tuple(map(_text, branches)) if isinstance(branches, tuple) else branches,
        "router_from": _text(options.get("router_from")),
    }


def _text(folder: Any) -> Any:
    return str(folder) if isinstance(folder, Path) else folder


def _open_all(folders: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that experts come from, alike in every name and shape."""
    opened = [open_checkpoint(Path(folder)) for folder in folders]
    shapes = [{name: stored.shape for name, stored in one.tensors.items()} for one in opened]
    for folder, found in zip(folders[1:], shapes[1:], strict=True):
        check_alike(folder, shapes[0], found)
    return opened


def _ffn_names(checkpoint: Checkpoint, ffns: Mapping[int, nn.Module]) -> dict[int, dict[str, str]]:
    """Per layer, parameter of the FFN → tensor of the checkpoint."""
    names: dict[int, dict[str, str]] = {layer: {} for layer in ffns}
    for name in checkpoint.tensors:
        match = FFN_NAME.fullmatch(name)
        if match is not None and int(match["layer"]) in names:
            names[int(match["layer"])][match["rest"]] = name
    for layer, found in names.items():
        for inner, weight in ffns[layer].state_dict().items():
            if inner not in found:
                raise UpcycleError(
                    str(checkpoint.folder),
                    f"there is no {inner} of the FFN of layer {layer}",
                    "correct config.json, or download the checkpoint again",
                )
            shape = checkpoint.tensors[found[inner]].shape
            if shape != tuple(weight.shape):
                raise UpcycleError(
                    str(checkpoint.folder),
                    f"{found[inner]} is {list(shape)}, and config.json makes it {list(weight.shape)}",
                    "correct config.json, or download the checkpoint again",
                )
    return names


def _groups(checkpoint: Checkpoint, apart: set[str]) -> Iterator[list[str]]:
    """All other tensors, in shards no larger than the FFN weights of one layer, or than one tensor."""
    limit = max(stored.bytes for stored in checkpoint.tensors.values())
    group: list[str] = []
    size = 0
    for name in sorted(checkpoint.tensors.keys() - apart):
        more = checkpoint.tensors[name].bytes
        if group and size + more > limit:
            yield group
            group, size = [], 0
        group.append(name)
        size += more
    if group:
        yield group


def _mean(checkpoints: Sequence[Checkpoint], names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of one checkpoint as they are, or their mean over several."""
    first = checkpoints[0].load(names)
    if len(checkpoints) == 1:
        return first
    sums = {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for name, tensor in first.items()
    }
    for other in checkpoints[1:]:
        for name, tensor in other.load(names).items():
            sums[name] += tensor
    means = {name: total / len(checkpoints) for name, total in sums.items()}
    return {name: mean.to(first[name].dtype) for name, mean in means.items()}


def _layer(
    ffn: nn.Module,
    checkpoints: Sequence[Checkpoint],
    names: dict[str, str],
    layer: int,
    plan: UpcyclePlan,
    router_EH: Tensor | None,
) -> tuple[dict[str, Tensor], BlockCheck]:
    """The block of one layer as tensors with their names, and how it compares with the dense FFN."""
    generator = layer_generator(plan, layer)
    dense = _filled(ffn, _mean(checkpoints, list(names.values())), names)
    block = block_like(dense, plan.to_config())
    start_router(block.router, plan, generator, router_EH)
    for replica in range(plan.replicas):
        source = dense
        if len(checkpoints) > 1:
            source = _filled(ffn, checkpoints[replica].load(list(names.values())), names)
        fill_replica(block, replica, source, plan, generator)
    fill_shared(block, dense)
    check = check_block(dense, block, plan, layer)
    prefix = names["down_proj.weight"].removesuffix("down_proj.weight")
    return {prefix + name: tensor.detach() for name, tensor in block.state_dict().items()}, check


def _filled(ffn: nn.Module, tensors: dict[str, Tensor], names: dict[str, str]) -> nn.Module:
    """An FFN like one without weights, with these."""
    whole = copy.deepcopy(ffn)
    whole.load_state_dict({inner: tensors[name] for inner, name in names.items()}, assign=True)
    return whole.requires_grad_(False)


def _copy_files(source: Path, target: Path) -> None:
    """Tokenizer, processor, generation and licence files."""
    for file in sorted(source.iterdir()):
        if file.is_file() and not file.name.endswith(WEIGHTS) and file.name not in NOT_COPIED:
            shutil.copyfile(file, target / file.name)


def _save_config(model: Any, target: Path) -> None:
    """config.json, and the files that load the model where there is no dpsl."""
    from transformers.dynamic_module_utils import custom_object_save

    custom_object_save(model, str(target), config=model.config)
    model.config.save_pretrained(str(target))
