"""Hook a router's choice: a bias that is part of the model, and experts that tokens may not use.

The hook stands before all others: shaping, losses and statistics see the choice that is made, and logits of −∞ where an
expert is barred. A bias stays in force when regularizers are detached, and is saved and loaded with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from safetensors import safe_open
from torch import Tensor, nn

from dpsl.errors import AttachError
from dpsl.live_hooks import LiveHook
from dpsl.routers.find import find_routers
from dpsl.routers.found import FoundRouter, layer_of
from dpsl.routers.output import RouterOutput, read_output
from dpsl.routers.selection import OWN_BIAS, CombinationRule, combination_rule, selected
from dpsl.upcycle.block import ExpertBias, Router

BIAS = "selection_bias"
"""Name of the bias below a router, and in a saved model's config of the list of layers that have one."""


@dataclass(eq=False)
class SelectionHook:
    """Make a router's choice anew.

    Attributes:
        router: whose.
        allowed: logits [N, K] → the experts that each token may use, or None for all; None where nobody bars any.
    """

    router: FoundRouter
    allowed: Callable[[Tensor], Tensor | None] | None = None
    _rule: CombinationRule | None = None

    def __call__(self, module: nn.Module, _args: Any, output: Any) -> Any:
        """The output, with another choice."""
        bias: Any = getattr(module, BIAS, None)
        allowed_NK = None
        read = read_output(self.router, output)
        if self.allowed is not None:
            allowed_NK = self.allowed(read.recorded_NK)
        added = bias is not None and not isinstance(module, Router)
        if not (added or allowed_NK is not None) or not len(read.recorded_NK):
            return output
        bias_K = bias.value if bias is not None else getattr(module, OWN_BIAS, None)
        rule = self._rule_of(read)
        return selected(output, self.router, read, rule, allowed_NK=allowed_NK, bias_K=bias_K)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """For a copy of the model: its biases go with it, and nobody bars experts there."""
        if not _needs_hook(self.router.module):
            return LiveHook(self).__reduce_ex__(protocol)
        return SelectionHook, (self.router, None, self._rule)

    def _rule_of(self, read: RouterOutput) -> CombinationRule:
        if self._rule is None:
            self._rule = combination_rule(self.router, read)
        return self._rule


def selection_hook(router: FoundRouter) -> SelectionHook:
    """The router's hook, before all its other ones; there is one at most."""
    for hook in router.module._forward_hooks.values():
        if isinstance(hook, SelectionHook):
            return hook
    if router.form is not None:
        raise AttachError(
            router.place,
            f"the choice of {type(router.module).__name__} cannot be changed from outside: its output holds no indices",
            "leave its layer out of `deepseek_bias` and `manual_modality` with `layers:`",
        )
    hook = SelectionHook(router)
    router.module.register_forward_hook(hook, prepend=True)
    return hook


def drop_unused_hook(router: FoundRouter) -> None:
    """Remove the router's hook where it has nothing left to do."""
    hooks = router.module._forward_hooks
    for key, hook in list(hooks.items()):
        if isinstance(hook, SelectionHook) and hook.allowed is None and not _needs_hook(router.module):
            del hooks[key]


def _needs_hook(module: nn.Module) -> bool:
    return hasattr(module, BIAS) and not isinstance(module, Router)


def bias_of(router: FoundRouter) -> Tensor | None:
    """The [K] bias that takes part in a router's choice, to be changed in place; None where there is none."""
    bias: Any = getattr(router.module, BIAS, None)
    if bias is not None:
        value: Tensor = bias.value
        return value
    own: Tensor | None = getattr(router.module, OWN_BIAS, None)
    if own is not None and own.dtype != torch.float32:
        # A model that was cast to bfloat16: steps of 0.001 would be lost.
        own = own.float()
        setattr(router.module, OWN_BIAS, own)
    return own


def add_bias(model: nn.Module, router: FoundRouter) -> None:
    """Give a router a bias of 0, unless it has one, and note in the model's config that it has."""
    if hasattr(router.module, OWN_BIAS):
        return
    if isinstance(router.module, Router):
        router.module.add_selection_bias()
    elif not hasattr(router.module, BIAS):
        parameter = next(router.module.parameters())
        experts = router.experts or int(parameter.shape[0])
        router.module.add_module(BIAS, ExpertBias(experts, parameter.device))
        selection_hook(router)
    config: Any = getattr(_saved(model), "config", None)
    if config is not None:
        setattr(config, BIAS, sorted({*(getattr(config, BIAS, None) or ()), router.layer}))


def restore_selection_bias(model: nn.Module, folder: str | None = None) -> tuple[int, ...]:
    """Put back the biases that a model was saved with, where its class does not know of them.

    Args:
        model: as `from_pretrained` gave it; transformers left `….selection_bias.value` out as unexpected.
        folder: where it was saved; None: the biases are 0 for now, as while a model is being built.

    Returns:
        The layers whose routers have one.
    """
    layers = tuple(getattr(getattr(model, "config", None), BIAS, None) or ())
    # Names of saved weights may differ from those of modules; there is one router in a layer.
    saved = _saved_biases(folder) if folder is not None and layers else {}
    for router in find_routers(model) if layers else ():
        if router.layer in layers:
            add_bias(model, router)
        if router.layer in saved:
            getattr(router.module, BIAS).load_state_dict({"value": saved[router.layer]})
    return layers


def load_with_biases(model_class: Any, folder: str, options: dict[str, Any]) -> nn.Module:
    """A model of a class that does not know of biases, with those it was saved with.

    It is loaded through a subclass whose construction ends with the biases in place; the subclass bears its parent's
    name, which transformers registers classes by, and is dropped at the end.
    """

    def build(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        model_class.__init__(self, config, *args, **kwargs)
        restore_selection_bias(self)

    names = {
        "__module__": model_class.__module__,
        "__qualname__": model_class.__qualname__,
        "__init__": build,
    }
    with_biases: Any = type(model_class.__name__, (model_class,), names)
    model: nn.Module = with_biases.from_pretrained(folder, **options)
    model.__class__ = model_class
    return model


def remove_selection_bias(model: nn.Module) -> None:
    """Take every bias away that was added from outside: the model chooses by its scores alone again."""
    for router in find_routers(model):
        if isinstance(router.module, Router):
            router.module.selection_bias = None
        elif hasattr(router.module, BIAS):
            delattr(router.module, BIAS)
        drop_unused_hook(router)
    config: Any = getattr(_saved(model), "config", None)
    if getattr(config, BIAS, None):
        delattr(config, BIAS)


def _saved(model: nn.Module) -> nn.Module:
    """The part of a model that `save_pretrained` saves: engines around it lend its methods, but not its config."""
    return next((module for module in model.modules() if hasattr(type(module), "save_pretrained")), model)


def _saved_biases(folder: str) -> dict[int, Tensor]:
    """By layer."""
    found: dict[int, Tensor] = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                layer = layer_of(name)
                if layer is not None and name.endswith(f".{BIAS}.value"):
                    found[layer] = tensors.get_tensor(name)
    return found
