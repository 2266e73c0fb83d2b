from priorlang.table.prior_table import PriorTable

__all__=["PriorTable"]
