"""Dense models made mixtures of experts.

`api.py` upcycles a model in place, `folder.py` a checkpoint folder layer by layer over `shards.py`. Both resolve
what was asked in `plan.py`, which the model's config keeps; find FFNs with `decoder.py`; fill blocks with
`fill.py`, of which `ffn.py` cuts, `scaling.py` scales, `reinitialize.py` draws anew and `branches.py` averages;
and end with a receipt, `receipt.py`.

`block.py` is the module that takes an FFN's place, `modeling_upcycled.py` the transformers classes around it,
`classes.py` registers them, and `storage.py` reads a saved model.

`dpsl.upcycle(model, …)` and `dpsl.upcycle.load_model(folder)` are both the public interface, so this module can
be called.
"""

import sys
from types import ModuleType

from dpsl.upcycle.api import upcycle
from dpsl.upcycle.folder import upcycle_folder
from dpsl.upcycle.receipt import Receipt
from dpsl.upcycle.storage import load_model

__all__ = ["Receipt", "load_model", "upcycle", "upcycle_folder"]


class _CallableModule(ModuleType):
    __call__ = staticmethod(upcycle)


sys.modules[__name__].__class__ = _CallableModule
