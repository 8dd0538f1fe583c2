"""A Flax NNX module as pure functions of its arrays: what every benchmark does with its model."""

from collections.abc import Callable
from typing import Generic, TypeVar

import jax
from flax import nnx

from jax_mlperf.errors import UserError
from jax_mlperf.types import PyTree

Model = TypeVar("Model", bound=nnx.Module)


class Network(Generic[Model]):
    """The module that `build(rngs)` makes, without its arrays.

    Raises:
      UserError: the values of `config.model` do not make one.
    """

    def __init__(self, build: Callable[[nnx.Rngs], Model]) -> None:
        self._build = build
        try:
            abstract = nnx.eval_shape(lambda: build(nnx.Rngs(params=0)))
        except (ValueError, TypeError) as error:
            raise UserError(f"config.model does not make a model: {error}") from error
        self._graphdef = nnx.split(abstract, nnx.Param, nnx.BatchStat)[0]

    def init(self, key: jax.Array) -> tuple[PyTree, PyTree]:
        """Initial parameters and batch statistics, nested dicts of arrays (the latter empty without batch norm). Pure."""
        states = nnx.split(self._build(nnx.Rngs(params=key)), nnx.Param, nnx.BatchStat)[1:]
        params, statistics = map(nnx.to_pure_dict, states)
        return params, statistics

    def bound(self, params: PyTree, statistics: PyTree) -> Model:
        """The module with these arrays, to be called inside a pure function."""
        return nnx.merge(self._graphdef, nnx.State(params), nnx.State(statistics), copy=True)
