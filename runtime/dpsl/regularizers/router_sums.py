"""The sums over tokens that every loss on a router is a function of, and the way back from them to the logits.

A loss L of these sums has the gradient, at each token that counts,

    ∂L/∂z = p ⊙ (a − Σ p a) + 2 b·lse·p − c·p ⊙ (ln p + H)

with a = ∂L/∂Σp, b = ∂L/∂Σlse², c = ∂L/∂ΣH, lse = logsumexp(z) and H the token's entropy. Sums add up: over ranks,
micro-batches and layers, so that a loss over all of these needs no more than one over few.

Dimensions: L layers, G groups of tokens (1, or the sequences), N tokens, K experts, k chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class RouterSums:
    """Sums over tokens that count.

    Attributes:
        tokens_LG: how many there are.
        square_LG: Σ logsumexp(z)².
        entropy_LG: Σ H, in nats.
        probability_LGK: Σ p.
        slots_LGK: top-k slots that each expert took, of `counted_LG` tokens.
        first_LGK: tokens that each expert is the most probable one for, of `counted_LG`.
        counted_LG: tokens behind the counts: more than `tokens_LG` where they are of a whole optimizer step.
        top_k: k.
    """

    tokens_LG: Tensor
    square_LG: Tensor
    entropy_LG: Tensor
    probability_LGK: Tensor
    slots_LGK: Tensor
    first_LGK: Tensor
    counted_LG: Tensor
    top_k: int

    @property
    def experts(self) -> int:
        """K."""
        return int(self.probability_LGK.shape[-1])

    def pooled(self) -> RouterSums:
        """The tokens of all layers as those of one."""
        return self.mapped(lambda sums: sums.sum(0, keepdim=True))

    def ungrouped(self) -> RouterSums:
        """The tokens of all groups as those of one."""
        return self.mapped(lambda sums: sums.sum(1, keepdim=True))

    def mapped(self, change: object) -> RouterSums:
        """The same with every tensor changed."""
        assert callable(change)
        return replace(self, **{name: change(value) for name, value in vars(self).items() if name != "top_k"})


def stacked(layers: Sequence[RouterSums]) -> RouterSums:
    """The sums of several layers in one."""
    together = {
        name: torch.cat([getattr(sums, name) for sums in layers])
        for name in vars(layers[0])
        if name != "top_k"
    }
    return RouterSums(**together, top_k=layers[0].top_k)


def router_sums(logits_NK: Tensor, indices_Nk: Tensor, counted_N: Tensor, *, groups: int = 1) -> RouterSums:
    """The sums of one layer; differentiable by the logits through `tokens_of`, see there.

    Args:
        logits_NK: logits before the softmax; −∞ bars an expert.
        indices_Nk: the chosen experts.
        counted_N: False for padding.
        groups: G, consecutive runs of N / G tokens: 1, or the number of sequences.
    """
    return tokens_of(logits_NK, indices_Nk, counted_N).sums(groups)


@dataclass(frozen=True, eq=False)
class RouterTokens:
    """What one layer's logits give for each token; zero where the token does not count."""

    log_p_NK: Tensor
    p_NK: Tensor
    lse_N: Tensor
    entropy_N: Tensor
    indices_Nk: Tensor
    counted_N: Tensor

    def sums(self, groups: int = 1) -> RouterSums:
        """The layer's sums over G groups."""
        counted_N = self.counted_N.to(self.p_NK.dtype)
        expert_N1 = self.log_p_NK.argmax(-1, keepdim=True)
        nothing_NK = torch.zeros_like(self.p_NK)

        def total(values: Tensor) -> Tensor:
            return values.reshape(1, groups, -1, *values.shape[1:]).sum(2)

        tokens_LG = total(counted_N)
        return RouterSums(
            tokens_LG=tokens_LG,
            square_LG=total(self.lse_N.square()),
            entropy_LG=total(self.entropy_N),
            probability_LGK=total(self.p_NK),
            slots_LGK=total(
                nothing_NK.scatter(1, self.indices_Nk, counted_N[:, None].expand_as(self.indices_Nk))
            ),
            first_LGK=total(nothing_NK.scatter(1, expert_N1, counted_N[:, None])),
            counted_LG=tokens_LG,
            top_k=self.indices_Nk.shape[-1],
        )

    def gradient(
        self, by_probability_GK: Tensor | None, by_square_G: Tensor | None, by_entropy_G: Tensor | None
    ) -> Tensor:
        """[N, K], the gradient by the logits of a loss with these gradients by the layer's sums; None is 0."""
        along_NK = torch.zeros_like(self.p_NK)
        if by_probability_GK is not None:
            a_NK = self._spread(by_probability_GK)
            along_NK += a_NK - (self.p_NK * a_NK).sum(-1, keepdim=True)
        if by_square_G is not None:
            along_NK += 2 * (self._spread(by_square_G) * self.lse_N)[:, None]
        if by_entropy_G is not None:
            along_NK -= self._spread(by_entropy_G)[:, None] * (self.log_p_NK + self.entropy_N[:, None])
        return self.p_NK * along_NK

    def _spread(self, values_G: Tensor) -> Tensor:
        """A value of each group, for each of its tokens."""
        return values_G.repeat_interleave(len(self.p_NK) // len(values_G), 0)


def tokens_of(logits_NK: Tensor, indices_Nk: Tensor, counted_N: Tensor) -> RouterTokens:
    """Probabilities, entropies and log-sums of one layer's tokens; see `router_sums`."""
    # Padding may hold anything, and NaN times 0 is NaN.
    logits_NK = logits_NK.masked_fill(~counted_N[:, None], 0.0)
    lse_N = logits_NK.logsumexp(-1)
    # A barred expert: 0 · ln 0 is 0, and its gradient as well.
    log_p_NK = (logits_NK - lse_N[:, None]).clamp(min=_LOWEST)
    p_NK = log_p_NK.exp()
    entropy_N = -(p_NK * log_p_NK).sum(-1)
    counted = counted_N.to(p_NK.dtype)
    return RouterTokens(
        log_p_NK, p_NK * counted[:, None], lse_N * counted, entropy_N * counted, indices_Nk, counted_N
    )


_LOWEST = -1e4
"""ln p ends here, where p is 0 in any precision."""
