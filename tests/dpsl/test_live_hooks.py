"""Copies of an attached model, and saved ones, are models without hooks; what is attached cannot be copied."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from bare_routers import BareRouters
from tables import modality_table
from tiny_models import batch, tiny
from torch import nn

import dpsl
from dpsl.errors import AttachError
from dpsl.live_hooks import LiveHook
from dpsl.regularizers import DeepseekBias, ManualModality, attach_regularizers


def saved_and_loaded(model: nn.Module) -> nn.Module:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded: nn.Module = torch.load(buffer, weights_only=False)
    return loaded


@pytest.mark.parametrize("copied", [copy.deepcopy, saved_and_loaded])
@pytest.mark.parametrize("kind", ["upcycled", "mixtral"])
def test_a_copy_behaves_as_a_detached_model(kind: str, copied: Callable[[nn.Module], nn.Module]) -> None:
    model, table, inputs = tiny(kind), modality_table(), batch()
    shaper = dpsl.attach(model, table)
    terms = [DeepseekBias(update_rate=0.5), ManualModality(attribute="modality", allow={"vision": (0, 1)})]
    regularizers = attach_regularizers(model, terms, attributes=table.header.attributes)
    described = {"mask": inputs["attention_mask"], "modality": "vision"}
    with shaper.tokens(**described), regularizers.tokens(**described):
        loss = model(**inputs).loss
    other = copied(model)  # while a graph waits
    loss.backward()
    other(**inputs).loss.backward()
    assert shaper.statistics().tokens.sum() == 2 * int(inputs["attention_mask"].sum())
    again = dpsl.attach(other, table)
    with again.tokens(**described):
        other(**inputs).loss.backward()
    assert all(arrival.gradient_norm for arrival in again.arrivals())


def test_biases_go_with_a_copy() -> None:
    model, inputs = tiny("mixtral"), batch()
    regularizers = attach_regularizers(model, [DeepseekBias(update_rate=0.5)])
    with regularizers.tokens(mask=inputs["attention_mask"]):
        unbiased = model(**inputs).logits
    regularizers.end_step()
    regularizers.detach()
    with torch.no_grad():
        chosen = [copied(model)(**inputs).logits for copied in (lambda m: m, copy.deepcopy, saved_and_loaded)]
    assert not torch.equal(chosen[0], unbiased)
    assert all(torch.equal(chosen[0], other) for other in chosen[1:])


def test_a_saved_hook_needs_nothing_but_the_standard_library() -> None:
    hook = pickle.dumps(LiveHook(print))
    script = f"import pickle, sys; print(pickle.loads({hook!r})(1, 2, 3), 'dpsl' in sys.modules)"
    told = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["None", "False"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_is_attached_is_not_copied(copied: Callable[[object], object]) -> None:
    model = BareRouters()
    for link in (dpsl.attach(model, modality_table()), attach_regularizers(model, [DeepseekBias()])):
        with pytest.raises(AttachError, match="attach to it anew"):
            copied(link)
