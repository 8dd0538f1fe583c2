"""ResNet-50's optimizers: LARS and SGD, under polynomial decay or the first reference's steps."""

import optax
from ml_collections import ConfigDict

from jax_mlperf.benchmark import LogEntry
from jax_mlperf.errors import UserError
from jax_mlperf.optim import lars, momentum_sgd
from jax_mlperf.schedules import piecewise_schedule, polynomial_schedule

# Of the base rate, from the end of the epochs `milestones` on (resnet_run_loop.py of retired_benchmarks/resnet-tf1).
_FACTOR = 0.1


class ResNet50Optimizer:
    """The optimizer that a config asks for.

    Attributes:
      transformation: the optax optimizer.

    Raises:
      UserError: unknown names, or a schedule that cannot be.
    """

    def __init__(self, config: ConfigDict, steps_per_epoch: float) -> None:
        self._config = config.optimizer
        self._steps_per_epoch = steps_per_epoch
        self._schedule = self._make_schedule()
        self.transformation = self._make_optimizer()

    def _make_schedule(self) -> optax.Schedule:
        config = self._config
        try:
            if config.schedule == "polynomial":
                return polynomial_schedule(config.base_learning_rate, config.end_learning_rate, self._warmup_steps(),
                                           self._decay_steps())
            if config.schedule == "piecewise":
                boundaries = [int(epoch * self._steps_per_epoch) for epoch in config.milestones]
                factors = [_FACTOR ** (passed + 1) for passed in range(len(boundaries))]
                return piecewise_schedule(config.base_learning_rate, self._warmup_steps(), boundaries, factors)
        except ValueError as error:
            raise UserError(f"config.optimizer: {error}; mend warmup_epochs, schedule_epochs or milestones") from error
        raise UserError(f"config.optimizer.schedule is {config.schedule!r}; resnet50 has 'polynomial' and 'piecewise'")

    def _warmup_steps(self) -> int:
        steps = self._config.warmup_epochs * self._steps_per_epoch
        return round(steps) if self._config.schedule == "polynomial" else int(steps)

    def _decay_steps(self) -> int:
        """As TF2's reference counts them: the last rate comes one step behind the end of the schedule."""
        return round(self._config.schedule_epochs * self._steps_per_epoch) - self._warmup_steps() + 1

    def _make_optimizer(self) -> optax.GradientTransformation:
        config = self._config
        if config.name == "lars":
            return lars(self._schedule, config.momentum, config.weight_decay, config.trust_coefficient, config.epsilon)
        if config.name == "sgd":
            return momentum_sgd(self._schedule, config.momentum, config.weight_decay, decayed="not_batch_norm")
        raise UserError(f"config.optimizer.name is {config.name!r}; resnet50 has 'lars' and 'sgd'")

    def learning_rate(self, step: int) -> float:
        """Of the update that follows `step` updates; the first one has rate 0."""
        return float(self._schedule(step))

    def hyperparameters(self) -> list[LogEntry]:
        """Under the keys of training_4.0.0/closed_resnet.yaml and closed_resnet_sgd.yaml."""
        config = self._config
        prefix = "lars_opt" if config.name == "lars" else "sgd_opt"
        warmup = "lars_opt_learning_rate_warmup_epochs" if config.name == "lars" else "opt_learning_rate_warmup_epochs"
        values = [("opt_name", config.name), (f"{prefix}_base_learning_rate", config.base_learning_rate)]
        if config.schedule == "polynomial":
            values += [(f"{prefix}_end_learning_rate", config.end_learning_rate),
                       (f"{prefix}_learning_rate_decay_poly_power", 2),
                       (f"{prefix}_learning_rate_decay_steps", self._decay_steps())]
        else:
            values += [("opt_learning_rate_decay_boundary_epochs", list(config.milestones)),
                       ("opt_learning_rate_decay_factor", _FACTOR)]
        values += [(warmup, config.warmup_epochs), (f"{prefix}_momentum", config.momentum),
                   (f"{prefix}_weight_decay", config.weight_decay)]
        if config.name == "lars":
            values.append(("lars_epsilon", config.epsilon))
        return [LogEntry(key, value) for key, value in values]
