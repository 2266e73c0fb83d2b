"""What a report shows beside sums: some tokens' routing probabilities, and how alike experts' outputs are.

`watch` draws tokens at the routers of a model that a shaper watches; `experts` runs every expert of a layer on them.
"""

from dpsl.samples.watch import TokenSampler, sampling

__all__ = ["TokenSampler", "sampling"]
