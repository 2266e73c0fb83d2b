"""After `import dpsl`, transformers' Auto classes load upcycled models, whichever of the two is imported first.

Neither torch nor transformers is imported for it: transformers is told the names, and the classes are imported
when one of them is asked for. transformers has no plugins, so the names go into its lazy mapping of configs, as
soon as that is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

MAPPING_MODULE = "transformers.models.auto.configuration_auto"
CONFIGS = {
    "upcycled_llama": "UpcycledLlamaConfig",
    "upcycled_qwen2": "UpcycledQwen2Config",
    "upcycled_phi3": "UpcycledPhi3Config",
    "upcycled_llava": "UpcycledLlavaConfig",
}


def announce() -> None:
    """Tell transformers the names now, or when it is imported."""
    loaded = sys.modules.get(MAPPING_MODULE)
    if loaded is not None and hasattr(loaded, "CONFIG_MAPPING"):
        _tell(loaded)
    elif not any(isinstance(finder, _WhenImported) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WhenImported())


def _tell(configuration_auto: Any) -> None:
    for model_type, name in CONFIGS.items():
        configuration_auto.CONFIG_MAPPING._mapping[model_type] = name
        configuration_auto.CONFIG_MAPPING._modules[model_type] = _Classes


class _ClassesLater:
    """Stands for the module of the classes until one of them is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name not in CONFIGS.values():
            raise AttributeError(name)
        import_module("dpsl.upcycle.classes")
        return getattr(import_module("dpsl.upcycle.modeling_upcycled"), name)


_Classes = _ClassesLater()


class _WhenImported(MetaPathFinder):
    """Lets one import take its usual way, and comes back when it is done."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MAPPING_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenTell(spec.loader)
        return spec


class _ThenTell(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _tell(module)
