"""Upcycle a checkpoint folder into another, one layer in memory at a time."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dpsl.errors import UpcycleError
from dpsl.upcycle.api import count
from dpsl.upcycle.block import block_like
from dpsl.upcycle.branches import check_alike
from dpsl.upcycle.classes import become_upcycled, model_class_of, upcycled_class
from dpsl.upcycle.decoder import SUPPORTED, dense_ffns
from dpsl.upcycle.ffn import width_of
from dpsl.upcycle.fill import fill_replica, fill_shared, layer_generator, start_router
from dpsl.upcycle.modeling_upcycled import put_blocks
from dpsl.upcycle.plan import UpcyclePlan, resolved
from dpsl.upcycle.receipt import BlockCheck, Receipt, check_block, make_receipt
from dpsl.upcycle.shards import Checkpoint, ShardWriter, open_checkpoint, whole_or_not_at_all

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
        UpcycleError: an option, the model or a file cannot be used. Nothing is left at the target.
    """
    skeleton: Any = _skeleton(Path(source))
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    asked = UpcyclePlan(**{**options, "branches": tuple(map(str, options.get("branches", ())))})
    ffns = dense_ffns(skeleton)
    plan = resolved(asked, {index: width_of(ffn) for index, ffn in ffns.items()})
    dense = _open_all(plan.branches or (str(source),))
    before = count(skeleton)
    put_blocks(skeleton, plan.to_config())
    become_upcycled(skeleton, plan.to_config())
    blocks: dict[int, Any] = {index: skeleton.get_decoder().layers[index].mlp for index in plan.routed}
    inactive = sum((plan.experts - plan.top_k) * count(block.experts[0]) for block in blocks.values())

    names = _ffn_names(dense[0], plan.routed)
    groups = list(_groups(dense[0], {name for layer in names.values() for name in layer.values()}))
    size = count(skeleton) * max(stored.itemsize for stored in dense[0].tensors.values())
    with whole_or_not_at_all(Path(target), size) as beside, torch.no_grad():
        writer = ShardWriter(beside, len(groups) + len(plan.routed))
        for group in groups:
            writer.write(_mean(dense, group))
        checks = []
        for layer in plan.routed:
            tensors, check = _layer(ffns[layer], dense, names[layer], layer, plan)
            writer.write(tensors)
            checks.append(check)
        writer.finish()
        receipt = make_receipt(plan, checks, before, count(skeleton), inactive)
        (beside / "receipt.json").write_text(receipt.to_json(), encoding="utf-8")
        _copy_files(Path(source), beside)
        _save_config(skeleton, beside)
    return receipt


def _skeleton(source: Path) -> nn.Module:
    """The dense model without weights."""
    import transformers

    if not (source / "config.json").is_file():
        raise UpcycleError(str(source), "there is no config.json", "name a checkpoint folder on this machine")
    try:
        config = transformers.AutoConfig.from_pretrained(str(source))
    except (OSError, ValueError, KeyError) as error:
        raise UpcycleError(
            str(source), f"no model can be read here ({str(error).splitlines()[0]})", SUPPORTED
        ) from None
    name = (config.architectures or ["none"])[0]
    model_class = model_class_of(name)
    if model_class is None:
        raise UpcycleError(f"{source}: config.json", f"class {name!r} is not known", SUPPORTED)
    if getattr(config, "quantization_config", None) is not None:
        raise UpcycleError(
            f"{source}: config.json",
            "its weights are quantized",
            "upcycle a checkpoint in bf16, fp16 or fp32",
        )
    with torch.device("meta"):
        model: nn.Module = model_class(config)
    dense_ffns(model)
    upcycled_class(model)
    return model


def _open_all(folders: Sequence[str]) -> list[Checkpoint]:
    """The checkpoints that experts come from, alike in every name and shape."""
    opened = [open_checkpoint(Path(folder)) for folder in folders]
    shapes = [{name: stored.shape for name, stored in one.tensors.items()} for one in opened]
    for folder, found in zip(folders[1:], shapes[1:], strict=True):
        check_alike(folder, shapes[0], found)
    return opened


def _ffn_names(checkpoint: Checkpoint, layers: Sequence[int]) -> dict[int, dict[str, str]]:
    """Per layer, parameter of the FFN → tensor of the checkpoint."""
    names: dict[int, dict[str, str]] = {layer: {} for layer in layers}
    for name in checkpoint.tensors:
        match = FFN_NAME.fullmatch(name)
        if match is not None and int(match["layer"]) in names:
            names[int(match["layer"])][match["rest"]] = name
    for layer, found in names.items():
        if "down_proj.weight" not in found:
            raise UpcycleError(
                str(checkpoint.folder),
                f"no weights of the FFN of layer {layer}",
                "download the checkpoint again",
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
    ffn: nn.Module, checkpoints: Sequence[Checkpoint], names: dict[str, str], layer: int, plan: UpcyclePlan
) -> tuple[dict[str, Tensor], BlockCheck]:
    """The block of one layer as tensors with their names, and how it compares with the dense FFN."""
    generator = layer_generator(plan, layer)
    dense = _filled(ffn, _mean(checkpoints, list(names.values())), names)
    block = block_like(dense, plan.to_config())
    start_router(block.router, plan, generator)
    for replica in range(plan.replicas):
        source = dense
        if len(checkpoints) > 1:
            source = _filled(ffn, checkpoints[replica].load(list(names.values())), names)
        fill_replica(block, replica, source, plan, generator)
    fill_shared(block, dense)
    check = check_block(dense, block, plan)
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
