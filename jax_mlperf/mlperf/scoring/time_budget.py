"""Runs with a fixed time: what they reach in it is their result, and their minutes are none."""

from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.reading.run_log import as_number


def time_budget_minutes(result_set: ResultSet) -> float | None:
    """The time budget of the config that lies beside the logs; None where there is none."""
    record = result_set.records.get("config")
    config = record.get("config") if isinstance(record, dict) else None
    budget = as_number(config.get("time_budget_minutes")) if isinstance(config, dict) else None
    return budget if budget is not None and budget > 0 else None
