"""Records and tokens of a stage's data: read where it is there, by the file's own word where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpsl.errors import DpslError
from dpsl.tokens.members import MODALITY, modality_codes
from dpsl.train.data.records import kept_count
from dpsl.train.data.token_classes import missing_member, record_codes
from priorlang.table.prior_table import UNSHAPED, PriorTable
from priorlang.training.plan import DataSource, StagePlan


@dataclass(frozen=True)
class TokenForecast:
    """Tokens of one population in one pass.

    Attributes:
        counted: those that are known.
        complete: whether these are all.
    """

    counted: int
    complete: bool = True


@dataclass(frozen=True)
class DataForecast:
    """One pass over a stage's data.

    Attributes:
        samples: records.
        tokens_C: [C] float64, tokens of each token class; None without a prior.
        complete_C: [C] bool, whether these are all of them.
    """

    samples: int
    tokens_C: NDArray[np.float64] | None = None
    complete_C: NDArray[np.bool_] | None = None

    def populations(self, table: PriorTable) -> dict[str, TokenForecast]:
        """The tokens of each population of a prior, by its name."""
        if self.tokens_C is None or self.complete_C is None:
            return {}
        counts = np.zeros(table.population_count)
        complete = np.ones(table.population_count, np.bool_)
        for populations in table.population:
            shaped = populations != UNSHAPED
            np.add.at(counts, populations[shaped], self.tokens_C[shaped])
            np.logical_and.at(complete, populations[shaped], self.complete_C[shaped])
        found = zip(table.header.populations, counts, complete, strict=True)
        return {name: TokenForecast(round(float(count)), bool(whole)) for name, count, whole in found}


def data_forecast(stage: StagePlan, table: PriorTable | None, tokens_per_image: int) -> DataForecast:
    """What a stage's data holds by the word of the training file.

    Args:
        stage: each of its sources states `expected`.
        table: the prior that looks at the tokens, or None.
        tokens_per_image: what an image becomes.

    Raises:
        DpslError: a source does not say what it holds, or not what the prior asks for; or no image fits.
    """
    kept = [(source, *_kept(stage, source)) for source in stage.data]
    if stage.objective == "language" and any(images for *_, images in kept):
        _require_room(stage, tokens_per_image)
    samples = sum(records for _, records, _ in kept)
    if table is None:
        return DataForecast(samples)
    tokens_C = np.zeros(table.class_count)
    complete_C = np.ones(table.class_count, np.bool_)
    for source, records, images in kept:
        assert source.expected is not None
        vision, language = _classes(stage, source, table)
        tokens_C[vision] += images * tokens_per_image
        if source.expected.text_tokens is None:
            complete_C[language] = False
        else:
            tokens_C[language] += records * source.expected.text_tokens
    return DataForecast(samples, tokens_C, complete_C)


def absent_sources(stages: Sequence[StagePlan]) -> Iterator[DataSource]:
    """Sources whose file or folder of images is not there, each once."""
    seen: set[object] = set()
    for stage in stages:
        for source in (*stage.data, *stage.eval_data):
            there = source.path.is_file() and (source.images is None or source.images.is_dir())
            if not there and (source.path, source.images) not in seen:
                seen.add((source.path, source.images))
                yield source


def _require_room(stage: StagePlan, tokens_per_image: int) -> None:
    """Refuse a length that an image alone fills, as reading the data would."""
    if stage.max_length <= tokens_per_image:
        raise DpslError(
            f"stage {stage.name}: max_length: {stage.max_length}",
            f"an image alone is {tokens_per_image} tokens, so that every record with one would be cut through it",
            f"raise it above {tokens_per_image} by as many tokens as the texts need",
        )


def _kept(stage: StagePlan, source: DataSource) -> tuple[int, int]:
    """Records and images that a stage uses of a source."""
    expected = source.expected
    if expected is None:
        raise DpslError(
            f"stage {stage.name}: data: {source.path.name}",
            "it cannot be read without the model's processor, and does not say what it holds",
            "add `expected: {records: …}`, or bring the model's parts to this machine",
        )
    images = expected.records if expected.images is None else expected.images
    return kept_count(expected.records, source.fraction), int(images * source.fraction)


def _classes(stage: StagePlan, source: DataSource, table: PriorTable) -> tuple[int, int]:
    """The classes of a source's image and text tokens, by what the source says of all its records."""
    stated: Mapping[str, str] = source.attributes
    for attribute in table.header.attributes:
        complaint = missing_member(attribute, stated)
        if complaint is not None:
            raise DpslError(f"stage {stage.name}: data: {source.path.name}", *complaint)
    codes = record_codes(table, stated)
    modality = modality_codes(table)
    vision = language = 0
    for attribute in table.header.attributes:
        by_token = (
            modality if attribute.name == MODALITY and modality is not None else (codes[attribute.name],) * 2
        )
        vision = vision * len(attribute.members) + by_token[0]
        language = language * len(attribute.members) + by_token[1]
    return vision, language
