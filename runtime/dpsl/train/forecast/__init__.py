"""What a stage will take, from its settings and a model without weights.

`census` counts parameters, `memory` what a rank holds of them, `tokens` what the data brings to each population,
`settings` what DeepSpeed is given; `words` writes it all down.
"""

from dpsl.train.forecast.census import Census, census_of
from dpsl.train.forecast.memory import MemoryPerRank, memory_per_rank
from dpsl.train.forecast.settings import resolved_deepspeed
from dpsl.train.forecast.stage_forecast import StageForecast
from dpsl.train.forecast.tokens import DataForecast, data_forecast
from dpsl.train.forecast.words import describe

__all__ = [
    "Census",
    "DataForecast",
    "MemoryPerRank",
    "StageForecast",
    "census_of",
    "data_forecast",
    "describe",
    "memory_per_rank",
    "resolved_deepspeed",
]
