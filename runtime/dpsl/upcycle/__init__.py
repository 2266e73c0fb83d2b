"""Dense models made mixtures of experts, in place.

`api.py` is the one entry; `sparse.py` is a method: how experts come from the dense FFN; `block.py` is the
module that takes its place; `storage.py` reads such a model back from a folder; `decoder.py` knows where a
decoder keeps its FFNs; `plan.py` checks what was asked and is kept in the model's config.

`dpsl.upcycle(model, …)` and `dpsl.upcycle.load_model(folder)` are both the public interface, so this module can
be called.
"""

import sys
from types import ModuleType

from dpsl.upcycle.api import Receipt, upcycle
from dpsl.upcycle.storage import load_model

__all__ = ["Receipt", "load_model", "upcycle"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(upcycle)


sys.modules[__name__].__class__ = _CallableModule
