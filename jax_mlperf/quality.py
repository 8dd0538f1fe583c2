"""When a quality target is reached: one rule for the trainer and for those who read its logs."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Quality:
    """The quality metrics with their targets; all targets must hold in the same evaluation.

    Attributes:
      targets: metric name -> target, in the unit in which `score` returns it.
      higher_is_better: direction, the same for all of them.
      strict: a value equal to its target does not reach it.
    """

    targets: Mapping[str, float]
    higher_is_better: bool = True
    strict: bool = False

    def reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether every target holds; `metrics` must have them all."""
        sign = 1 if self.higher_is_better else -1
        margins = [sign * (metrics[name] - target) for name, target in self.targets.items()]
        return all(margin > 0 or (margin == 0 and not self.strict) for margin in margins)
