"""How many runs each benchmark asks for, which of them count, and what its target is: MLPerf's rules, as data.

Numbers of runs: training_rules.adoc (Run Results) and benchmark_meta.py of mlperf_logging; targets: the closed-division files of
its compliance checker. Benchmarks that MLPerf has no rule for follow their nearest relative in it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jax_mlperf.mlperf.reading.run_log import RunLog, as_number
from jax_mlperf.quality import Quality


@dataclasses.dataclass(frozen=True)
class ScoringRule:
    """The rule of one benchmark.

    Attributes:
      runs: runs that a result needs.
      targets: metric name -> target, as logged; the name is "" where the logged value is one number; empty: status decides.
      higher_is_better, strict: direction; whether a value equal to the target misses it.
      ruleset: the newest ruleset of the compliance checker that knows the benchmark; "" where none does.
      drop: fastest and slowest runs left out, so many of each.
      first_converged: the result counts the first so many converged runs only; 0: all runs.
      epoch_num_is_samples: epoch_num of the log counts training samples.
      official: MLPerf has, or had, the benchmark.
    """

    runs: int
    targets: Mapping[str, float]
    higher_is_better: bool = True
    strict: bool = False
    ruleset: str = ""
    drop: int = 1
    first_converged: int = 0
    epoch_num_is_samples: bool = False
    official: bool = True

    def reached(self, value: float | Mapping[str, float]) -> bool:
        """Whether a logged quality holds all targets."""
        values = value if isinstance(value, Mapping) else {"": value}
        return (self.targets.keys() <= values.keys()
                and Quality(self.targets, self.higher_is_better, self.strict).reached(values))


RULES: dict[str, ScoringRule] = {
    "resnet": ScoringRule(5, {"": 0.759}, ruleset="4.0.0"),
    "bert": ScoringRule(10, {"": 0.72}, ruleset="5.0.0", epoch_num_is_samples=True),
    "maskrcnn": ScoringRule(5, {"BBOX": 0.377, "SEGM": 0.339}, ruleset="3.1.0"),
    "transformer": ScoringRule(10, {"": 0.25}, ruleset="0.7.0"),
    "gnmt": ScoringRule(10, {"": 0.24}, ruleset="0.7.0"),
    "minigo": ScoringRule(10, {"": 0.5}, ruleset="2.1.0"),
    "ssd": ScoringRule(5, {"": 0.34}, ruleset="4.1.0"),
    "retinanet": ScoringRule(5, {"": 0.34}, ruleset="5.1.0"),
    "rnnt": ScoringRule(10, {"": 0.058}, higher_is_better=False, ruleset="3.1.0"),
    "unet3d": ScoringRule(40, {"": 0.908}, ruleset="4.0.0", drop=4),
    "dlrm": ScoringRule(5, {"": 0.8025}, ruleset="2.1.0"),
    "dlrm_dcnv2": ScoringRule(10, {"": 0.80275}, ruleset="6.0.0"),
    "gnn": ScoringRule(10, {"": 0.72}, ruleset="4.1.0"),
    "rgat": ScoringRule(10, {"": 0.72}, ruleset="5.1.0"),
    # v0.5 only: a hundred runs, of which the first fifty that converge count, in the order of their starts.
    "ncf": ScoringRule(100, {"": 0.635}, first_converged=50),
    "sentiment": ScoringRule(10, {"": 0.906}, strict=True, official=False),
    "deepspeech2": ScoringRule(10, {"": 0.23}, higher_is_better=False, official=False),
    "cifar10": ScoringRule(5, {"": 0.8}, official=False),
}
_OTHER = ScoringRule(10, {}, official=False)
# minigo's first definition, of v0.5: 40 % of the professionals' moves; no ruleset of the compliance checker has it.
_MINIGO_V05 = ScoringRule(20, {"": 0.4})


def is_minigo_v05(facts: Mapping[str, Any]) -> bool:
    """Whether a closed log is of minigo's v0.5 and not of a later round: its quality_target says 0.4.

    Published logs have no such line; they are of the win rate, 0.5.

    Args:
      facts: key -> value of the log's lines.
    """
    logged = facts.get("quality_target")
    targets = logged.get("targets") if isinstance(logged, dict) else None
    return (facts.get("submission_benchmark") == "minigo" and facts.get("submission_division") == "closed"
            and isinstance(targets, dict) and targets.keys() == {""} and as_number(targets[""]) == 0.4)


def _rule_by_name(run: RunLog) -> ScoringRule:
    """The rule of a run's benchmark, whatever its round and its own targets."""
    return _MINIGO_V05 if is_minigo_v05(run.facts) else RULES.get(run.benchmark or "", _OTHER)


def ruleset_of(run: RunLog) -> str:
    """The ruleset that a log was written for, as far as it can be told: 0.7.0, or the newest that knows the benchmark.

    From 1.0.0 on every log has gradient_accumulation_steps (training_1.0.0/closed_common.yaml of the checker).
    """
    rule = _rule_by_name(run)
    if rule.ruleset and "gradient_accumulation_steps" not in run.facts:
        return "0.7.0"
    return rule.ruleset


def rule_of(run: RunLog) -> ScoringRule:
    """The rule that a run is scored by.

    In the closed division the targets are those of the rules of its round; in the open division, and for benchmarks without
    an official target, those that the run logged itself (`quality_target`), where it did.
    """
    rule = _rule_by_name(run)
    if run.benchmark == "bert" and ruleset_of(run) == "0.7.0":
        # training_0.7.0/closed_bert.yaml
        rule = dataclasses.replace(rule, targets={"": 0.706 if (run.number("global_batch_size") or 0) >= 8192 else 0.712})
    if run.benchmark == "ssd" and ruleset_of(run) == "0.7.0":
        rule = dataclasses.replace(rule, targets={"": 0.23})
    if rule.official and run.text("submission_division") == "closed":
        return rule
    return _with_own_targets(rule, run.facts.get("quality_target"))


def rule_of_set(runs: Sequence[RunLog]) -> ScoringRule:
    """The rule of several runs of one benchmark: that of the first which tells its benchmark."""
    return rule_of(next((run for run in runs if run.benchmark), runs[0]))


def _with_own_targets(rule: ScoringRule, logged: Any) -> ScoringRule:
    """The rule with the targets of a `quality_target` line, where it is one."""
    if not isinstance(logged, dict) or not isinstance(logged.get("targets"), dict):
        return rule
    targets = {name: number for name, value in logged["targets"].items() if (number := as_number(value)) is not None}
    if not targets:
        return rule
    return dataclasses.replace(rule, targets=targets, higher_is_better=bool(logged.get("higher_is_better", True)),
                               strict=bool(logged.get("strict", False)))


def converged(run: RunLog) -> bool:
    """Whether a run counts: it ended by itself with status success, and an evaluation held the targets of its rule."""
    rule = rule_of(run)
    return run.minutes is not None and run.status == "success" and any(rule.reached(entry.value) for entry in run.evaluations)
