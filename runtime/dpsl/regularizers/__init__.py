"""The other router losses: each a pure function of one layer's logits, in its own file.

`terms.py` is the registry; `attach.py` hooks them to the routers of a live model, as `dpsl.attach` does the prior.
"""

from dpsl.regularizers.attach import Regularizers, attach_regularizers
from dpsl.regularizers.load_balance import load_balance
from dpsl.regularizers.z_loss import z_loss

__all__ = ["Regularizers", "attach_regularizers", "load_balance", "z_loss"]
