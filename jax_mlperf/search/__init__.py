"""Batched Monte Carlo tree search on the device."""

from jax_mlperf.search.gumbel import gumbel_search
from jax_mlperf.search.puct import puct_search
from jax_mlperf.search.types import DirichletNoise, EvaluateFn, Evaluation, Found, Game

__all__ = ["DirichletNoise", "EvaluateFn", "Evaluation", "Found", "Game", "gumbel_search", "puct_search"]
