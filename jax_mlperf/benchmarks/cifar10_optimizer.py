"""CIFAR-10's optimizers: SGD under a schedule or under Task 1a's plateau rule, and that of the 94 % record."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from jax_mlperf.airbench_optimizer import Rates, airbench_optimizer
from jax_mlperf.benchmark import LogEntry, TrainState
from jax_mlperf.epoch_schedules import linear_to_zero, multi_step, triangle
from jax_mlperf.errors import UserError
from jax_mlperf.lookahead import lookahead
from jax_mlperf.muon import muon
from jax_mlperf.optim import momentum_sgd
from jax_mlperf.parallel.mesh import placed_like
from jax_mlperf.plateau import Plateau, PlateauState
from jax_mlperf.schedules import polynomial_schedule
from jax_mlperf.types import PyTree


class PlateauOptState(NamedTuple):
    """State of SGD with the scalars of the plateau rule, which the host replaces after each evaluation."""

    sgd: PyTree
    plateau: PlateauState


class Cifar10Optimizer:
    """The optimizer that a config asks for.

    Attributes:
      transformation: the optax optimizer.

    Raises:
      UserError: unknown names, or a schedule that cannot be.
    """

    def __init__(self, config: ConfigDict, workers: int, steps_per_epoch: float) -> None:
        self._config = config.optimizer
        self._steps_per_epoch = steps_per_epoch
        self._plateau: Plateau | None = None
        if self._config.name == "airbench":
            factor = self._airbench_factor()
            self._schedule: optax.Schedule = lambda step: self._config.filter_learning_rate * factor(step)
            self.transformation = self._airbench(workers * config.data.batch_size, factor)
        elif self._config.name == "sgd":
            self._schedule = self._make_schedule(workers)
            self.transformation = self._sgd()
        else:
            raise UserError(f"config.optimizer.name is {self._config.name!r}; cifar10 has 'sgd' and 'airbench'")

    def _total_steps(self) -> int:
        return math.ceil(self._config.schedule_epochs * self._steps_per_epoch)

    def _make_schedule(self, workers: int) -> optax.Schedule:
        config, spe, total = self._config, self._steps_per_epoch, self._total_steps()
        try:
            if config.schedule == "plateau":
                self._plateau = Plateau(config.base_learning_rate, workers, min_learning_rate=config.base_learning_rate)
                return lambda step: config.base_learning_rate * self._warm(int(step // spe), workers)
            if config.schedule == "steps":
                return multi_step(config.base_learning_rate, spe, boundaries=config.milestones, workers=workers,
                                  warmup_epochs=config.warmup_epochs)
            if config.schedule == "polynomial":
                warmup = config.warmup_epochs * spe
                return polynomial_schedule(config.base_learning_rate, 0.0, warmup, total - warmup)
        except ValueError as error:
            raise UserError(f"config.optimizer: {error}; mend schedule_epochs or warmup_epochs") from error
        raise UserError(f"config.optimizer.schedule is {config.schedule!r}; there are: plateau, steps, polynomial")

    def _warm(self, epoch: int, workers: int) -> float:
        assert self._plateau is not None
        return 1 + (workers - 1) * min(1.0, epoch / self._plateau.warmup_epochs) if workers > 1 else 1.0

    def _sgd(self) -> optax.GradientTransformation:
        config, plateau = self._config, self._plateau
        schedule = self._schedule if plateau is None else optax.constant_schedule(1.0)
        sgd = momentum_sgd(schedule, config.momentum, config.weight_decay, decayed="all", nesterov=config.nesterov)
        if plateau is None:
            return sgd

        def init(params: PyTree) -> PlateauOptState:
            return PlateauOptState(sgd.init(params), plateau.initial())

        def update(updates: PyTree, state: PlateauOptState, params: PyTree | None = None) -> tuple[PyTree, PlateauOptState]:
            updates, inner = sgd.update(updates, state.sgd, params)
            return jax.tree.map(lambda leaf: leaf * state.plateau.learning_rate, updates), PlateauOptState(inner, state.plateau)

        return optax.GradientTransformation(init, update)

    def _airbench_factor(self) -> optax.Schedule:
        factors = {"linear": linear_to_zero, "triangle": triangle}
        if self._config.schedule not in factors:
            raise UserError(f"config.optimizer.schedule is {self._config.schedule!r}; airbench has: {', '.join(factors)}")
        return factors[self._config.schedule](self._total_steps())

    def _airbench(self, batch_size: int, factor: optax.Schedule) -> optax.GradientTransformation:
        config = self._config
        rates = Rates(filters=config.filter_learning_rate, norm_biases=config.bias_learning_rate,
                      stem_bias=config.stem_bias_learning_rate, head=config.head_learning_rate)
        stem_bias_steps = round(config.stem_bias_epochs * self._steps_per_epoch)
        optimizer = airbench_optimizer(
            rates, schedule=factor, stem_bias_schedule=linear_to_zero(stem_bias_steps) if config.muon else factor,
            stem_bias_steps=stem_bias_steps, decay=config.decay_per_sample * batch_size, momentum=config.momentum,
            filters=muon(self._schedule, momentum=config.muon_momentum) if config.muon else None, gradient_scale=batch_size)
        return optax.chain(optimizer, lookahead(self._total_steps())) if config.lookahead else optimizer

    def after_evaluation(self, state: TrainState, validation_loss: float) -> TrainState:
        """The state of the next epoch."""
        if self._plateau is None:
            return state
        old = state.opt_state.plateau
        new = self._plateau.update(PlateauState(*map(np.asarray, old)), validation_loss)
        opt_state = state.opt_state._replace(plateau=placed_like(new, old))
        return dataclasses.replace(state, opt_state=opt_state)

    def learning_rate(self, step: int) -> float:
        """Of the update that follows `step` updates; as long as no plateau has lowered it."""
        return float(self._schedule(step))

    def hyperparameters(self) -> list[LogEntry]:
        """Under MLPerf's keys."""
        config = self._config
        if config.name == "airbench":
            values: list[tuple[str, Any]] = [("opt_name", "muon" if config.muon else "sgd"),
                                             ("opt_base_learning_rate", config.filter_learning_rate)]
        else:
            values = [("opt_name", "sgd"), ("opt_base_learning_rate", config.base_learning_rate),
                      ("opt_momentum", config.momentum), ("opt_weight_decay", config.weight_decay)]
        return [LogEntry(key, value) for key, value in values]
