"""The optimizer of the airbench networks: which parameter is moved by what.

Facts: `KellerJordan/cifar10-airbench:airbench94_muon.py` and `legacy/airbench94_compiled.py`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.types import PyTree


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of the parts of the network, for the gradient of a loss that is summed over the batch."""

    filters: float
    norm_biases: float
    stem_bias: float
    head: float


def airbench_optimizer(
    rates: Rates, *, schedule: optax.Schedule, stem_bias_schedule: optax.Schedule, stem_bias_steps: int, decay: float,
    momentum: float = 0.85, filters: optax.GradientTransformation | None = None, gradient_scale: float = 1.0,
) -> optax.GradientTransformation:
    """SGD with Nesterov momentum for biases and head, and Muon or the same SGD for the filters.

    SGD adds decay / rate times the parameter to its gradient, so that all of them shrink by `decay` at the peak of the schedule
    whatever their rate is; Muon has no decay.

    Args:
      rates: peak learning rates.
      schedule: factor of all rates but the stem's bias, from the number of updates made before.
      stem_bias_schedule: factor of that one.
      stem_bias_steps: after so many updates the stem's bias stays exactly as it is.
      decay: see above.
      momentum: of SGD.
      filters: what moves the convolutions' kernels (Muon, with its own rate); None: the same SGD.
      gradient_scale: what makes the gradients those of a summed loss: the batch size where they are of the mean loss.

    Returns:
      a transformation for the nested dict of parameters of models.airbench.Airbench; `update` needs the parameters.
    """

    def stem_bias_factor(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.where(jnp.asarray(step) < stem_bias_steps, stem_bias_schedule(step), 0.0)

    def sgd(rate: float, factor: optax.Schedule) -> optax.GradientTransformation:
        return optax.chain(optax.add_decayed_weights(decay / rate), optax.trace(momentum, nesterov=True),
                           optax.scale_by_schedule(lambda step: -rate * factor(step)))

    parts = {"filters": filters or sgd(rates.filters, schedule), "norm_biases": sgd(rates.norm_biases, schedule),
             "head": sgd(rates.head, schedule), "stem_bias": sgd(rates.stem_bias, stem_bias_factor)}
    return optax.chain(optax.scale(gradient_scale), optax.partition(parts, part_labels))


def part_labels(params: PyTree) -> PyTree:
    """The name in `Rates` of every parameter of an Airbench network."""
    return jax.tree_util.tree_map_with_path(_part, params)


def _part(path: tuple[jax.tree_util.DictKey, ...], param: jax.Array) -> str:
    if param.ndim == 4:
        return "filters"
    first = path[0].key
    return first if first in ("stem_bias", "head") else "norm_biases"
