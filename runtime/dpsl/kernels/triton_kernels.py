# mypy: disable-error-code="no-untyped-def, untyped-decorator"
"""The Triton kernels, over blocks of BN tokens and BK ≥ K experts.

Each recomputes ℓ from the logits, which costs less than to write it and read it back. What they compute, step by
step, stands in `dpsl.one_vs_rest`, `dpsl.histogram`, `dpsl.marginals` and `dpsl.ties`, which they must equal.
Tokens whose bucket is Q or more are ignored.

Triton specialises these by the types of what they are given; docstrings state the shapes.
"""

from __future__ import annotations

import triton
import triton.language as tl

NOTHING = tl.constexpr(-80.0)
LOWEST = tl.constexpr(-8.5e37)


@triton.jit
def _load_one_vs_rest(logits, token, expert, there, stride, BK: tl.constexpr):
    """ℓ [BN, BK], 0 beyond K and where a token is spoilt by NaN or +∞; the top expert [BN, BK]; who is spoilt."""
    z = tl.load(logits + token.to(tl.int64) * stride + expert, mask=there, other=0.0).to(tl.float32)
    # Comparisons are false for NaN. It would get lost on the way, as minima and maxima pass it over.
    spoilt = tl.sum(tl.where(z < float("inf"), 0, 1), 1)[:, None] > 0
    z = tl.where(there, tl.where(spoilt, 0.0, tl.maximum(z, LOWEST)), -float("inf"))
    largest = tl.max(z, 1)[:, None]
    top = expert == tl.min(tl.where(z == largest, expert, BK - 1), 1)[:, None]
    below = tl.where(there, z - largest, -float("inf"))
    second = tl.max(tl.where(top, -float("inf"), below), 1)[:, None]
    mass = tl.where(there & (top == 0), tl.exp(_clamped(below - second)), 0.0)
    total = tl.sum(mass, 1)[:, None]
    others = (total - mass) * tl.exp(tl.maximum(second, NOTHING)) + 1.0
    ell = tl.where(top, -(second + tl.log(total)), below - tl.log(others))
    return tl.where(there, ell, 0.0), top & there, spoilt


@triton.jit
def _clamped(x):
    return tl.minimum(tl.maximum(x, NOTHING), 0.0)


@triton.jit
def _squeezed(ell, REACH: tl.constexpr):
    return ell / (tl.abs(ell) * (1 / REACH) + 1.0)


@triton.jit
def ends_kernel(
    logits, bucket_N, ends_2KQ, tokens, experts, buckets, stride, REACH: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr
):  # fmt: skip
    """Raise −min and max of ℓ [2, K, Q] to those of the tokens; logits [N, K] with a stride between tokens."""
    token = tl.program_id(0) * BN + tl.arange(0, BN)[:, None]
    expert = tl.arange(0, BK)[None, :]
    bucket = tl.load(bucket_N + token, mask=token < tokens, other=buckets)
    there = (bucket < buckets) & (expert < experts)
    ell, _, _ = _load_one_vs_rest(logits, token, expert, there, stride, BK)
    ell = _squeezed(ell, REACH)
    expert_K = tl.arange(0, BK)
    least = tl.min(tl.min(bucket, 0), 0)
    most = tl.max(tl.max(tl.where(bucket < buckets, bucket, -1), 0), 0)
    for chosen in range(least, most + 1):
        mine = there & (bucket == chosen)
        low = tl.max(tl.where(mine, -ell, -float("inf")), 0)
        high = tl.max(tl.where(mine, ell, -float("inf")), 0)
        place = ends_2KQ + expert_K * buckets + chosen
        tl.atomic_max(place, low, mask=expert_K < experts)
        tl.atomic_max(place + experts * buckets, high, mask=expert_K < experts)


@triton.jit
def count_kernel(
    logits, bucket_N, per_ell_KQ, base_KQ, counts_M, tokens, experts, buckets, bins, stride,
    REACH: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Count the tokens into the bins, M = K·Q·B."""
    token = tl.program_id(0) * BN + tl.arange(0, BN)[:, None]
    expert = tl.arange(0, BK)[None, :]
    bucket = tl.load(bucket_N + token, mask=token < tokens, other=buckets)
    there = (bucket < buckets) & (expert < experts)
    ell, _, _ = _load_one_vs_rest(logits, token, expert, there, stride, BK)
    of = expert * buckets + bucket
    number = tl.floor(_squeezed(ell, REACH) * tl.load(per_ell_KQ + of, mask=there, other=1.0))
    place = number.to(tl.int32) + tl.load(base_KQ + of, mask=there, other=0)
    place = tl.minimum(tl.maximum(place, 0), bins - 1)
    tl.atomic_add(counts_M + place, 1, mask=there)


@triton.jit
def gradient_kernel(
    logits, bucket_N, row_N, coefficient_N, per_ell_KQ, base_KQ, tied_KQ, target_2M,
    pair_RK, coefficient_4T, lo_P, step_P, left_P, right_P, gradient, squared_N,
    tokens, experts, buckets, bins, intervals, all_intervals, stride, gradient_stride,
    REACH: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The gradient with respect to the logits [N, K], and Σ_k (F − t)² [N]; both 0 for ignored tokens."""
    token = tl.program_id(0) * BN + tl.arange(0, BN)[:, None]
    expert = tl.arange(0, BK)[None, :]
    inside = token < tokens
    bucket = tl.load(bucket_N + token, mask=inside, other=buckets)
    there = (bucket < buckets) & (expert < experts)
    ell, top, spoilt = _load_one_vs_rest(logits, token, expert, there, stride, BK)

    of = expert * buckets + bucket
    place = _squeezed(ell, REACH) * tl.load(per_ell_KQ + of, mask=there, other=1.0)
    number = tl.floor(place)
    tied = tl.load(tied_KQ + of, mask=there, other=0) != 0
    within = tl.where(tied, _tie_place(token, expert), place - number)
    index = number.to(tl.int32) + tl.load(base_KQ + of, mask=there, other=0)
    index = tl.minimum(tl.maximum(index, 0), bins - 1)
    lower = tl.load(target_2M + index, mask=there, other=0.0)
    target = lower + tl.load(target_2M + bins + index, mask=there, other=0.0) * within

    row = tl.load(row_N + token, mask=inside & (bucket < buckets), other=0)
    pair = tl.load(pair_RK + row * experts + expert, mask=there, other=0)
    step = tl.load(step_P + pair, mask=there, other=1.0)
    x = (ell - tl.load(lo_P + pair, mask=there, other=0.0)) / step
    x_inside = tl.minimum(tl.maximum(x, 0.0), intervals * 1.0)
    interval = tl.minimum(x_inside.to(tl.int32), intervals - 1)
    t = x_inside - interval
    at = coefficient_4T + tl.maximum(pair * intervals + interval, 0)
    f0 = tl.load(at, mask=there, other=0.0)
    c0 = tl.load(at + all_intervals, mask=there, other=0.0)
    c1 = tl.load(at + 2 * all_intervals, mask=there, other=0.0)
    c2 = tl.load(at + 3 * all_intervals, mask=there, other=0.0)
    cdf = f0 + step * t * (c0 + t * (0.5 * c1 + t * (c2 * (1.0 / 3.0))))
    slope = c0 + t * (c1 + t * c2)
    beyond = x - x_inside
    left = tl.load(left_P + pair, mask=there, other=0.0)
    right = tl.load(right_P + pair, mask=there, other=0.0)
    decay = tl.exp(_clamped(tl.minimum(beyond, 0.0) * left - tl.maximum(beyond, 0.0) * right))
    cdf = tl.where(beyond > 0, 1.0 - (1.0 - cdf) * decay, cdf * decay)

    distance = tl.where(there, cdf - target, 0.0)
    coefficient = tl.load(coefficient_N + token, mask=inside, other=0.0)
    upstream = 2.0 * coefficient * distance * slope * decay

    second = tl.max(tl.where(top | (there == 0), -float("inf"), ell), 1)[:, None]
    others = there & (top == 0)
    odds = tl.where(others, tl.exp(_clamped(ell - second)), 0.0)
    second_odds = tl.exp(tl.maximum(second, NOTHING))
    over_complement = odds * second_odds + 1.0
    share = odds / over_complement
    through = tl.where(others, over_complement * upstream, 0.0)
    through_sum = tl.sum(through, 1)[:, None]
    top_upstream = tl.sum(tl.where(top, upstream, 0.0), 1)[:, None]
    top_p = tl.sum(tl.where(top, 1.0 / (1.0 + tl.exp(-ell)), 0.0), 1)[:, None]
    per_share = second_odds * through_sum + top_upstream / tl.sum(share, 1)[:, None]
    found = tl.where(top, top_upstream - top_p * through_sum, through - share * per_share)
    found = tl.where(there, tl.where(spoilt, float("nan"), found), 0.0)
    to = gradient + token.to(tl.int64) * gradient_stride + expert
    tl.store(to, found, mask=inside & (expert < experts))
    squared = tl.sum(tl.where(spoilt & there, float("nan"), distance * distance), 1)
    token_N = tl.program_id(0) * BN + tl.arange(0, BN)
    tl.store(squared_N + token_N, squared, mask=token_N < tokens)


@triton.jit
def _tie_place(token, expert):
    bits = token.to(tl.uint32) * 0x9E3779B1 + expert.to(tl.uint32) * 0x85EBCA77
    bits = (bits ^ (bits >> 16)) * 0x7FEB352D
    bits = (bits ^ (bits >> 15)) * 0x846CA68B
    bits = bits ^ (bits >> 16)
    return (bits >> 8).to(tl.float32) * (1.0 / 16777216.0)
