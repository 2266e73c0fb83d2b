"""The other router losses: each a pure function of sums over a layer's tokens, in its own file.

router_sums   logits → the sums that every loss is a function of, and the gradient back
load_balance, z_loss, entropy
terms         options, as `priorlang.training.regularizers` lists them → functions
whole_pass    all of them over all layers of a forward pass
hook, live    on the routers of a live model, as `dpsl.attach` does the prior
"""

from dpsl.regularizers.attach import attach_regularizers
from dpsl.regularizers.batch_shaping import batch_shaping
from dpsl.regularizers.entropy import balance, confidence
from dpsl.regularizers.live import Regularizers
from dpsl.regularizers.load_balance import load_balance
from dpsl.regularizers.router_sums import RouterSums, router_sums
from dpsl.regularizers.selection_hook import remove_selection_bias, restore_selection_bias
from dpsl.regularizers.z_loss import z_loss
from priorlang.training.regularizers import (
    BatchShaping,
    DeepseekBias,
    Entropy,
    LoadBalance,
    ManualModality,
    ZLoss,
)

__all__ = [
    "BatchShaping",
    "DeepseekBias",
    "Entropy",
    "LoadBalance",
    "ManualModality",
    "Regularizers",
    "RouterSums",
    "ZLoss",
    "attach_regularizers",
    "balance",
    "batch_shaping",
    "confidence",
    "load_balance",
    "remove_selection_bias",
    "restore_selection_bias",
    "router_sums",
    "z_loss",
]
