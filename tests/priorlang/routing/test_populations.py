"""A run's routing counted by another prior's populations: matched by names, whatever their order or split."""

from __future__ import annotations

import numpy as np
import pytest
from ideal_routing import ideal_run
from prior_programs import prior_of

from priorlang.diagnostics.finding import PriorError
from priorlang.routing.attainment import attainment
from priorlang.routing.populations import populations_of
from priorlang.table.prior_table import PriorTable

MODEL = "priorlang 1\nmodel { layers = 2  experts = 4  top_k = 2 }\n"
MODALITY = "attribute modality { vision, language }\n"
TASK = "attribute task { caption, vqa, unknown }\n"
DEFAULT = "default base 1 weight 0.01\n"
VISION = "rule vision: for modality vision prefer 0..1 by 1\n"
VQA = "rule vqa: for task vqa prefer 3 by 2\n"


def table_of(*parts: str) -> PriorTable:
    return prior_of("".join([MODEL, *parts])).table


RUN = table_of(MODALITY, TASK, DEFAULT, VISION)


def test_under_its_own_prior_it_is_attained() -> None:
    run = ideal_run(RUN)
    found = populations_of(run, RUN)
    assert [(item.layer, item.name, item.tokens) for item in found] == [
        (layer, name, 60_000) for layer in (0, 1) for name in ("vision", "language")
    ]
    for item in found:
        measured = attainment(item, RUN.alpha[item.row])
        assert measured.ks is not None
        assert measured.rms is not None
        assert max(measured.tv_top, measured.ks.max(), measured.rms.max(), measured.kl) < 1e-3
        np.testing.assert_allclose(measured.fitted, RUN.alpha[item.row], rtol=1e-6)


def test_attributes_in_another_order_are_the_same() -> None:
    other = table_of(TASK, MODALITY, DEFAULT, VISION)
    for before, after in zip(
        populations_of(ideal_run(RUN), RUN), populations_of(ideal_run(RUN), other), strict=True
    ):
        assert (before.layer, before.name, before.tokens) == (after.layer, after.name, after.tokens)
        assert before.top.tolist() == after.top.tolist()
        assert before.bins is not None
        assert after.bins is not None
        assert before.bins.tolist() == after.bins.tolist()


def test_a_prior_that_tells_less_apart_adds_classes_up() -> None:
    coarse = table_of(MODALITY, DEFAULT)
    found = populations_of(ideal_run(RUN), coarse)
    assert [item.tokens for item in found] == [120_000, 120_000]
    assert found[0].bins is not None
    assert found[0].bins.sum() == pytest.approx(4 * 120_000, abs=4000)


def test_a_prior_that_tells_more_apart_has_no_histogram() -> None:
    found = populations_of(ideal_run(RUN), table_of(MODALITY, TASK, DEFAULT, VQA))
    assert sum(item.tokens for item in found) == 2 * 6 * 20_000
    assert all(item.bins is None for item in found)
    assert attainment(found[0], np.ones(4)).ks is None


def test_classes_without_tokens_take_no_part() -> None:
    tokens = np.zeros(RUN.row.shape, int)
    tokens[:, 0] = 500
    found = populations_of(ideal_run(RUN, tokens=tokens), table_of(MODALITY, TASK, DEFAULT, VQA))
    assert [item.tokens for item in found] == [500, 500]
    assert found[0].bins is not None


def test_without_sums_of_classes_whole_groups_are_needed() -> None:
    run = ideal_run(RUN, by_class=False)
    by_class = populations_of(ideal_run(RUN), RUN)
    for mine, its in zip(populations_of(run, RUN), by_class, strict=True):
        np.testing.assert_allclose(mine.log_probability, its.log_probability)
    assert [item.tokens for item in populations_of(run, table_of(MODALITY, DEFAULT))] == [120_000] * 2
    with pytest.raises(PriorError, match="pooled the tokens of `layer 0 · vision`"):
        populations_of(run, table_of(MODALITY, TASK, DEFAULT, VQA))


def test_a_new_attribute_with_unknown_takes_every_token() -> None:
    source = "attribute source { web, books, unknown }\nrule web: for source web prefer 0 by 1\n"
    found = populations_of(ideal_run(RUN), table_of(source, DEFAULT))
    assert [item.tokens for item in found] == [120_000, 120_000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL.replace("experts = 4", "experts = 8") + MODALITY + DEFAULT, "has 4 experts, the prior has 8"),
        (MODEL.replace("layers = 2", "layers = 3") + MODALITY + DEFAULT, r"layers 0\.\.1 of a-run route"),
        (
            MODEL + "attribute source { web, books }\n" + DEFAULT,
            "not tell tokens apart by attribute `source`",
        ),
        (MODEL + "attribute task { caption, unknown }\n" + DEFAULT, None),
        (MODEL + "attribute modality { vision, audio }\n" + DEFAULT, "`modality` `language`"),
    ],
)
def test_what_does_not_fit_is_said(text: str, words: str | None) -> None:
    table = prior_of(text).table
    if words is None:
        assert len(populations_of(ideal_run(RUN), table)) == 2
        return
    with pytest.raises(PriorError, match=words):
        populations_of(ideal_run(RUN), table)
