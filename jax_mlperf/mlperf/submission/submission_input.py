"""What must hold before runs are packed: names, one folder a benchmark, rules that know it, enough runs, logs as they were left.

Whatever does not hold is a UserError.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.checking.check_set import check_set
from jax_mlperf.mlperf.checking.checker_rulesets import OWN, rulesets_that_know
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.scoring.scoring_rules import is_minigo_v05, rule_of_set, ruleset_of
from jax_mlperf.mlperf.scoring.selection import select
from jax_mlperf.mlperf.submission.reproduction import command_of
from jax_mlperf.mlperf.submission.submission_files import Entry


def check_names(names: Mapping[str, str]) -> None:
    """Names become folders, and repo_checker wants no space and no dot in front of them."""
    for flag, name in names.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
            fit = re.sub(r"[^A-Za-z0-9._+-]+", "_", name).lstrip("._+-") or "name"
            raise UserError(f"{flag}={name!r} becomes a folder's name: letters, digits and . _ + - only, the first a letter or "
                            f"digit; for example {flag}={fit}")


def check_sets(sets: Sequence[ResultSet]) -> None:
    """One folder of runs for each benchmark."""
    folders: dict[str, Path] = {}
    for result_set in sets:
        other = folders.setdefault(result_set.benchmark, result_set.folder)
        if other != result_set.folder:
            raise UserError(f"{result_set.benchmark} is in {other} and in {result_set.folder}; a submission has one folder of "
                            "runs for each benchmark of a system: leave one out")


def package_ruleset(sets: Sequence[ResultSet], wanted: str) -> str:
    """The ruleset of a package: the wanted one, or, for "", the newest that has all benchmarks and fits all logs."""
    common: set[str] = set()
    for number, result_set in enumerate(sets):
        if not any(run.benchmark for run in result_set.runs):
            raise UserError(f"{result_set.folder}: its logs name no benchmark (submission_benchmark), so it cannot be submitted; "
                            "leave it out")
        if any(is_minigo_v05(run.facts) for run in result_set.runs):
            raise UserError(f"{result_set.folder}: its target is minigo's of v0.5, 40 % of the professionals' moves, but the "
                            "rules that MLPerf's checkers know have the win rate of later rounds, so it cannot be submitted; "
                            "leave it out (score and check know its rules)")
        known = set(rulesets_that_know(result_set.benchmark)) - {OWN}
        if not known:
            raise UserError(f"{result_set.folder}: none of the rules that MLPerf's checkers know has the benchmark "
                            f"{result_set.benchmark}, so it cannot be submitted; leave it out")
        common = common & known if number else known
    names = ", ".join(result_set.benchmark for result_set in sets)
    if wanted and wanted not in common:
        choice = ", ".join(sorted(common, key=_order))
        raise UserError(f"rules {wanted} do not have all of {names}; those that do: {choice or 'none, submit them one by one'}")
    # the newest that a run of the set fits: one that was killed early has not logged what tells them apart
    told = [max((_order(name) for run in result_set.runs if (name := ruleset_of(run))), default=None) for result_set in sets]
    fitting = [ruleset for ruleset in common if all(newest is None or _order(ruleset) <= newest for newest in told)]
    if not wanted and not fitting:
        raise UserError(f"no rules of MLPerf have all of {names}; submit them one by one, or name the rules with --ruleset")
    return wanted or max(fitting, key=_order)


def _order(ruleset: str) -> tuple[int, ...]:
    return tuple(map(int, ruleset.split(".")))


def check_evidence(sets: Sequence[ResultSet], ruleset: str) -> None:
    """The runs of a folder belong together, and are as they were left (check_set)."""
    found = [f"{result_set.folder.name}: {finding}" for result_set in sets
             for finding in (*(f"{run.path.name} {run.problems[0]}" for run in result_set.runs if not run.lines),
                             *check_set(result_set, ruleset))]
    if found:
        raise UserError("\n".join(["these runs cannot be submitted:", *found]))


def entry_of(result_set: ResultSet, draft: bool) -> Entry:
    """The runs of a folder that count, if there are enough of them, or in a draft."""
    rule = rule_of_set(result_set.runs)
    made = len(result_set.runs)
    if made < rule.runs and not draft:
        raise UserError(f"{result_set.folder} has {made} of the {rule.runs} runs of {result_set.benchmark} that the rules ask "
                        f"for: {rule.runs - made} missing; make them, or see how far it is with --draft")
    return Entry(result_set.benchmark, select(result_set.runs, rule).runs, made, rule.runs, command_of(result_set))
