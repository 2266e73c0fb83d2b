"""The Beta distribution as functions of tensors, with gradients to the shapes as well as to the place.

torch has neither the incomplete beta function nor its inverse. Here both come from one quadrature of
h = dF/dℓ over ℓ = logit p, where ln h = a·ln p + b·ln(1 − p) − ln B(a, b) is concave: F does not saturate at
either end, and ∂F/∂a and ∂F/∂b are sums over the same nodes. Everything is computed in float64, on the device
of the input, and returned in the dtype of the input.

Functions of ℓ, in the whole range of float64, and the same of p:

    logit_cdf(ell, a, b)        F                 cdf(p, a, b)
    log_cdf(ell, a, b)          ln F, where F underflows too
    log_slope(ell, a, b)        ln h = ln dF/dℓ = ln [p (1 − p) pdf(p)]
    score(ell, a, b)            d ln h / dℓ = a (1 − p) − b p
    logit_quantile(u, a, b)     ℓ with F = u      quantile(u, a, b)

Largest errors in float64 against mpmath with 40 digits, over random pairs (a, b) and for each of them seven
places from F = 1e-30 to 1 − 1e-7:

    a and b in      the smaller of F and 1 − F, relative    ∂F/∂a, of its largest    ℓ of F = u, of ℓ's spread
    0.05 … 50       5e-13                                   3e-12                    3e-13
    0.01 … 1e3      1e-12                                   3e-11                    1e-13
    1e-4 … 1e6      6e-11                                   not measured             3e-11

∂F/∂b is as exact but for a tiny and b huge, where ψ(b) − ψ(a + b) cancels: 1e-7 at (1e-3, 1e5). There are no
second derivatives: asking for them is an error.

One value costs some hundred exponentials, one quantile a dozen values: these serve studies, learned shapes and
the building of tables, while a training step reads tables (`dpsl.marginals`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import logsigmoid

# Functions of p


def cdf(p: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """F(p; a, b), the regularised incomplete beta function, with gradients to all three.

    Args:
        p: probabilities; below 0 they give 0, above 1 they give 1.
        a: first shape, positive; broadcasts.
        b: second shape, positive; broadcasts.

    Returns:
        The broadcast shape, in the dtype of p.
    """
    p64, a64, b64 = _broadcast(p, a, b)
    return _cdf_of_p(p64.clamp(0, 1), a64, b64).to(p.dtype)


def quantile(u: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """The p with F(p; a, b) = u, with gradients to all three; `logit_quantile` does not round to 0 or 1."""
    return _quantile_p(*_broadcast(u, a, b)).to(u.dtype)


# Functions of ℓ


def logit_cdf(ell: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """F at ℓ = logit p.

    Args:
        ell: logits; ±∞ give 0 and 1, NaN gives NaN.
        a: first shape, positive; broadcasts. Anything else gives NaN.
        b: second shape, likewise.
    """
    return _cdf(*_broadcast(ell, a, b), False).to(ell.dtype)


def log_cdf(ell: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Ln F at ℓ; finite far below the place where F underflows."""
    return _cdf(*_broadcast(ell, a, b), True).masked_fill(ell == -torch.inf, -torch.inf).to(ell.dtype)


def log_slope(ell: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Ln h at ℓ, h = dF/dℓ."""
    ell64, a64, b64 = _broadcast(ell, a, b)
    return (log_weight(ell64, a64, b64) - log_beta(a64, b64)).to(ell.dtype)


def score(ell: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """D ln h / dℓ; 0 at the mode of ℓ, p = a / (a + b)."""
    ell64, a64, b64 = _broadcast(ell, a, b)
    return (a64 * (-ell64).sigmoid() - b64 * ell64.sigmoid()).to(ell.dtype)


def logit_quantile(u: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """The ℓ with F = u; −∞ and ∞ at u of 0 and 1, NaN outside."""
    return _quantile(*_broadcast(u, a, b)).to(u.dtype)


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """Ln B(a, b) in float64, without the cancellation of lgamma at large shapes."""
    small, large = torch.minimum(a, b), torch.maximum(a, b)
    safe = large.clamp(min=_STIRLING)
    # lgamma(large) − lgamma(large + small) by Stirling's series, whose leading terms cancel on paper.
    falling = (
        _stirling_rest(safe)
        - _stirling_rest(safe + small)
        - (safe - 0.5) * torch.log1p(small / safe)
        - small * torch.log(safe + small)
        + small
    )
    direct = torch.lgamma(large) - torch.lgamma(large + small)
    return torch.lgamma(small) + torch.where(large > _STIRLING, falling, direct)


def _stirling_rest(x: Tensor) -> Tensor:
    """lgamma(x) − [(x − ½) ln x − x + ½ ln 2π] for x of at least 10."""
    inverse = 1 / x.square()
    total = torch.zeros_like(x)
    for coefficient in (-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        total = total * inverse + coefficient
    return total / x


_STIRLING = 10.0


def _broadcast(x: Tensor, a: Tensor | float, b: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """All three as float64, of one shape, shapes that are none as NaN; gradients pass through."""
    shapes = (torch.as_tensor(value, dtype=torch.float64, device=x.device) for value in (a, b))
    a64, b64 = (torch.where((shape > 0) & shape.isfinite(), shape, torch.nan) for shape in shapes)
    shape = np.broadcast_shapes(x.shape, a64.shape, b64.shape)
    return x.double().expand(shape), a64.expand(shape), b64.expand(shape)


class _Cdf(torch.autograd.Function):
    """F or ln F, with the derivatives that are needed, from one quadrature."""

    @staticmethod
    def forward(ctx: Any, ell: Tensor, a: Tensor, b: Tensor, log: bool) -> Tensor:
        tail = nearer_tail(ell, a, b, shape_slopes=any(ctx.needs_input_grad[1:3]))
        part = tail.log.exp()
        if log:
            value = torch.where(tail.lower, tail.log, torch.log1p(-part))
        else:
            value = torch.where(tail.lower, part, 1 - part)
        # All derivatives as fractions of F where ln F is wanted, so that neither underflows.
        sign = torch.where(tail.lower, 1.0, -1.0)
        scale = sign * (tail.log - value if log else tail.log).exp()
        log_slope = log_weight(ell, a, b) - log_beta(a, b)
        slope = (log_slope - value if log else log_slope).exp()
        ctx.save_for_backward(slope, scale * tail.by_a, scale * tail.by_b)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        slope, by_a, by_b = ctx.saved_tensors
        return gradient * slope, gradient * by_a, gradient * by_b, None


class _Quantile(torch.autograd.Function):
    """ℓ with F = u, and its derivatives as those of an implicit function."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, a: Tensor, b: Tensor) -> Tensor:
        lower = u <= 0.5
        near, far = torch.where(lower, a, b), torch.where(lower, b, a)
        # The smaller side is found, and mirrored: 1 − u keeps its digits there.
        side = _log_tail_quantile(torch.where(lower, u, 1 - u).log(), near, far)
        ell = torch.where(lower, side, -side)
        tail = nearer_tail(ell, a, b, shape_slopes=any(ctx.needs_input_grad[1:3]))
        log_slope = log_weight(ell, a, b) - log_beta(a, b)
        over_slope = torch.where(tail.lower, -1.0, 1.0) * (tail.log - log_slope).exp()
        ctx.save_for_backward((-log_slope).exp(), over_slope * tail.by_a, over_slope * tail.by_b)
        return ell

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_u, by_a, by_b = ctx.saved_tensors
        return gradient * by_u, gradient * by_a, gradient * by_b


class _CdfOfP(torch.autograd.Function):
    """F of p itself: its derivatives are one piece, so that none is half differentiable again."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, a: Tensor, b: Tensor) -> Tensor:
        tail = nearer_tail(p.logit(), a, b, shape_slopes=any(ctx.needs_input_grad[1:3]))
        part = tail.log.exp()
        sign = torch.where(tail.lower, 1.0, -1.0)
        ctx.save_for_backward(_density(p, a, b), sign * part * tail.by_a, sign * part * tail.by_b)
        return torch.where(tail.lower, part, 1 - part)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        density, by_a, by_b = ctx.saved_tensors
        return gradient * density, gradient * by_a, gradient * by_b


class _QuantileP(torch.autograd.Function):
    """The p with F = u, and its derivatives as those of an implicit function."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, a: Tensor, b: Tensor) -> Tensor:
        ell = _quantile(u, a, b)
        p = ell.sigmoid()
        tail = nearer_tail(ell, a, b, shape_slopes=any(ctx.needs_input_grad[1:3]))
        over = torch.where(tail.lower, -1.0, 1.0) * tail.log.exp() / _density(p, a, b)
        # The ends stay where they are, whatever the shapes.
        over = over.masked_fill((u == 0) | (u == 1), 0.0)
        ctx.save_for_backward(1 / _density(p, a, b), over * tail.by_a, over * tail.by_b)
        return p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_u, by_a, by_b = ctx.saved_tensors
        return gradient * by_u, gradient * by_a, gradient * by_b


def _density(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The density of p, up to both ends."""
    return (torch.xlogy(a - 1, p) + torch.xlogy(b - 1, 1 - p) - log_beta(a, b)).exp()


_cdf: Callable[..., Tensor] = _Cdf.apply
_cdf_of_p: Callable[..., Tensor] = _CdfOfP.apply
_quantile_p: Callable[..., Tensor] = _QuantileP.apply
_quantile: Callable[..., Tensor] = _Quantile.apply


def _log_tail_quantile(log_u: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The ℓ with ln F = ln u, by Newton's method: ln F is concave in ℓ, so that it cannot diverge."""
    first_term = (log_u + a.log() + log_beta(a, b)) / a  # ln p where F is p^a / (a·B)
    ell = torch.where(first_term < -1, first_term, (a / b).log())
    for _ in range(_NEWTON_STEPS):
        tail = nearer_tail(ell, a, b, shape_slopes=False)
        log_cdf = torch.where(tail.lower, tail.log, torch.log1p(-tail.log.exp()))
        rate = (log_weight(ell, a, b) - log_beta(a, b) - log_cdf).exp()
        step = (log_u - log_cdf) / rate
        ell = torch.where(torch.isfinite(ell), ell + step, ell)
        if ell.device.type == "cpu" and not bool((step.abs() > 1e-14 * (1 + ell.abs())).any()):
            break
    return ell


_NEWTON_STEPS = 40


# The tail beyond ℓ, on whichever side of the mode ℓ lies


class Tail(NamedTuple):
    """The mass T beyond ℓ on its side of the mode: F where `lower`, else 1 − F."""

    log: Tensor
    """ln T."""
    by_a: Tensor
    """∂ ln T / ∂a; 0 unless asked for."""
    by_b: Tensor
    lower: Tensor
    """Whether ℓ lies below the mode."""


def nearer_tail(ell: Tensor, a: Tensor, b: Tensor, *, shape_slopes: bool) -> Tail:
    """Ln T and its derivatives by the shapes, by Gauss-Legendre quadrature of h in ℓ.

    Memory is bounded by `_BLOCK` values at a time. Beyond `_POWER_LAW` the density is a power of p and its integral is known; up to there two panels, cut at
    ℓ = 0 where the density bends, reach until it has fallen by e^−45.
    """
    ell = ell.clamp(-_FARTHEST, _FARTHEST)
    flat = [torch.split(values.reshape(-1), _BLOCK) for values in (ell, a, b)]
    blocks = [_tail_of_block(*block, shape_slopes=shape_slopes) for block in zip(*flat, strict=True)]
    return Tail(*(torch.cat(field).view(ell.shape) for field in zip(*blocks, strict=True)))


def _tail_of_block(ell: Tensor, a: Tensor, b: Tensor, *, shape_slopes: bool) -> Tail:
    lower = ell <= torch.log(a) - torch.log(b)
    near, far = torch.where(lower, a, b), torch.where(lower, b, a)
    start = torch.where(lower, ell, -ell)
    at_start = log_weight(start, near, far)
    last = (-_POWER_LAW - far.clamp(min=1).log()).minimum(start)
    end = start - _reach(start, near, far, at_start, start - last)
    bend = torch.where((end < 0) & (start > 0), torch.zeros_like(end), end)

    log_parts, near_parts, far_parts = [], [], []
    for low, high in ((end, bend), (bend, start)):
        half = ((high - low) / 2)[..., None]
        x = low[..., None] + half * (1 + _NODE.to(half.device))
        mass = (log_weight(x, near[..., None], far[..., None]) - at_start[..., None]).exp()
        mass = mass * half * _WEIGHT.to(half.device)
        log_parts.append(mass.sum(-1))
        if shape_slopes:
            near_parts.append((mass * logsigmoid(x)).sum(-1))
            far_parts.append((mass * logsigmoid(-x)).sum(-1))
    rest = (log_weight(end, near, far) - at_start).exp() / near
    total = log_parts[0] + log_parts[1] + rest
    log_tail = total.log() + at_start - log_beta(near, far)
    if not shape_slopes:
        nothing = torch.zeros_like(log_tail)
        return Tail(log_tail, nothing, nothing, lower)
    both = torch.digamma(near + far)
    rest_near = rest * (logsigmoid(end) - 1 / near)
    by_near = (near_parts[0] + near_parts[1] + rest_near) / total - torch.digamma(near) + both
    by_far = (far_parts[0] + far_parts[1]) / total - torch.digamma(far) + both
    return Tail(log_tail, torch.where(lower, by_near, by_far), torch.where(lower, by_far, by_near), lower)


def _reach(start: Tensor, near: Tensor, far: Tensor, at_start: Tensor, most: Tensor) -> Tensor:
    """How far from ℓ the density has fallen by e^−45, at most `most`."""
    low, high = torch.full_like(most, math.log(1e-9)), most.clamp(min=1e-9).log()
    for _ in range(12):
        middle = (low + high) / 2
        fallen = at_start - log_weight(start - middle.exp(), near, far) > _FALLEN
        low, high = torch.where(fallen, low, middle), torch.where(fallen, middle, high)
    return high.exp().minimum(most)


def log_weight(ell: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a·ln p + b·ln(1 − p), which is ln h but for its constant."""
    return a * logsigmoid(ell) + b * logsigmoid(-ell)


_POWER_LAW = 40.0
"""Where p·max(1, b) is below e^−40, (1 − p)^b is 1 to the last bit."""

_FALLEN = 45.0

_FARTHEST = 1e200
"""ℓ = ±∞ is read as this, where every product is finite still."""

_BLOCK = 2**15

_NODE, _WEIGHT = (torch.from_numpy(values) for values in np.polynomial.legendre.leggauss(40))
