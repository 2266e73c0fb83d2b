"""`dpsl.attach`: find a model's routers, and put a shaper on them."""

from __future__ import annotations

from torch import nn

from dpsl.arguments import check_options
from dpsl.errors import AttachError
from dpsl.routers.find import Routers, find_routers
from dpsl.routers.zero3 import warn_without_leaf_modules
from dpsl.shaper import SHAPED, Shaper
from dpsl.shaping.cdf_memory import CdfMemory
from dpsl.shaping.matching import match_routers
from dpsl.shaping.prior_loss import SCOPES, PriorLoss, Ranks, Scope, Target
from priorlang.table.prior_table import PriorTable


def attach(
    model: nn.Module,
    table: PriorTable,
    *,
    ranks: Ranks = "histogram",
    scope: Scope = "global",
    window: int = 1,
    routers: Routers | None = None,
    target: Target = "eq4",
    min_population: int = 1,
    shaping: bool = True,
) -> Shaper:
    """Find a model's routers and shape them by a prior table.

    Args:
        model: the model whose loss is differentiated. Attach after `deepspeed.initialize` where that swaps
            modules.
        table: the compiled prior.
        ranks: empirical CDF by exact sorting, or by histograms of ℓ.
        scope: tokens that make up an empirical CDF: those of all ranks and of the window (`global`), or of
            this rank's forward pass alone (`micro`).
        window: forward passes whose tokens make up an empirical CDF under the global scope, the running one
            and those before it: the gradient accumulation steps, for the CDF of the global batch, or more,
            for one that remembers. Needs histograms.
        routers: paths of the modules that are routers, `*` for one part of a path (`"blocks.*.gate"`), a list of
            such, or a mapping from them to the place of the logits in a module's output tuple. None: those of
            every known kind. See docs/routers.md.
        target: rank target; `eq4` is the paper's.
        min_population: smaller populations are left out.
        shaping: False: only watch, for a stage that is not shaped.

    Raises:
        AttachError: the model has no routers, they do not fit the table, or another shaper shapes them.
    """
    try:
        check_options(target, ranks, "tokens", min_population, "logits")
    except ValueError as error:
        raise AttachError("dpsl.attach(…)", str(error), "see its documentation") from None
    if scope not in SCOPES:
        choices = ", ".join(map(repr, SCOPES))
        raise AttachError("dpsl.attach(…)", f"scope is {scope!r}", f"it must be one of {choices}")
    if not isinstance(shaping, bool):
        raise AttachError("dpsl.attach(…)", f"shaping is {shaping!r}", "it must be True or False")
    _check_window(window, ranks, scope)
    matched = match_routers(model, find_routers(model, routers), table)
    warn_without_leaf_modules(model, matched)
    if shaping:
        SHAPED.refuse_taken(matched)
    loss = PriorLoss(table, ranks, target, min_population, scope)
    return Shaper(model, matched, loss, CdfMemory(window), shaping=shaping)


def _check_window(window: int, ranks: Ranks, scope: Scope) -> None:
    place = f"dpsl.attach(window={window!r})"
    if isinstance(window, bool) or not isinstance(window, int) or window < 1:
        raise AttachError(place, "a window is a number of forward passes", "give an integer of at least 1")
    if window == 1:
        return
    if scope == "micro":
        raise AttachError(
            place, "under the micro scope every forward pass stands alone", 'use scope="global"'
        )
    if ranks == "sort":
        raise AttachError(
            place, "exact ranks cannot be carried from pass to pass", 'use ranks="histogram", or window=1'
        )
