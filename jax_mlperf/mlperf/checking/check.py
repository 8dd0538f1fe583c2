"""Whether a result file keeps the rules: the official compliance checker's verdict, and what it does not look at."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.errors import printable
from jax_mlperf.mlperf.checking.checker_rulesets import (
    OWN,
    checked_ruleset,
    default_ruleset,
    first_config,
    official_rulesets,
    parser_of,
    rulesets_that_know,
)
from jax_mlperf.mlperf.reading.log_lines import old_format
from jax_mlperf.mlperf.scoring.scoring_rules import RULES, is_minigo_v05


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is to be said about one file.

    Attributes:
      path: the file.
      ruleset: what it was checked by; "own" for our rule files.
      passed: there are no violations.
      violations, warnings: in words.
      benchmark, division: as logged; "" where the log does not say.
      hint: what else the user may want to know; mostly empty.
    """

    path: Path
    ruleset: str
    passed: bool
    violations: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    benchmark: str = ""
    division: str = ""
    hint: str = ""


def check_file(path: Path, ruleset: str | None = None) -> Verdict:
    """Checks a result file of any size and content.

    The ruleset follows from the benchmark alone: the newest one that knows it, or our own rule files where none does. Only
    minigo has two definitions, told apart by the target: `scoring_rules.is_minigo_v05`.

    Args:
      path: the file.
      ruleset: another ruleset; "own" for our rule files.
    Raises:
      UserError: there is no such ruleset.
    """
    from jax_mlperf.mlperf.checking.checker_engine import run_checker
    from jax_mlperf.mlperf.checking.checker_lines import checker_lines
    from jax_mlperf.mlperf.checking.checker_words import in_words

    try:
        facts = _facts(path) if path.is_file() else {}
        benchmark = _shown(facts.get("submission_benchmark", ""))
        known = OWN if is_minigo_v05(facts) else default_ruleset(benchmark)
        chosen = checked_ruleset(ruleset, benchmark) if ruleset is not None else known or OWN
        if not path.is_file():
            state = "is not there" if not path.exists() else (
                f"is {'a folder' if path.is_dir() else 'a pipe or a device'}, not a file")
            return Verdict(path, chosen, False, (f"the file {state}",))
        read = checker_lines(path, parser_of(chosen))
    except OSError as error:
        return Verdict(path, ruleset or OWN, False, (f"the file cannot be read: {error.strerror}",))
    if not read.lines:  # all that rules ask for is missing
        old = "has lines of MLPerf 0.5 or 0.6 only, which are not read here" if old_format(path) else "has no :::MLLOG lines"
        return Verdict(path, chosen, False, (f"the file {old}", *read.problems))
    found = run_checker(read.lines, first_config(chosen), parser_of(chosen))
    unknown = ruleset is None and known is None
    messages = [message for message in found.messages if not (unknown and message.key == "submission_benchmark")]
    first = [_unknown(benchmark)] if unknown else []
    violations = (*first, *read.problems, *in_words(messages, read.lines, found.more), *_order_of_times(read.lines))
    return Verdict(path, chosen, not violations, violations, tuple(in_words(found.warnings, read.lines, {})), benchmark,
                   _text(read.lines, "submission_division"),
                   _hint(benchmark, chosen) if violations and ruleset is None else "")


_TELLING = ("submission_benchmark", "submission_division", "quality_target")


def _facts(path: Path) -> dict[str, Any]:
    """The first value of each line that tells what to check a file by; what is not there, or not needed, is missing."""
    from jax_mlperf.mlperf.checking.checker_lines import last_tokens, parse

    facts: dict[str, Any] = {}
    for number, text in last_tokens(path):
        if text and any(key in text for key in _TELLING):
            line = parse(number, text, official_rulesets()[-1])
            if not isinstance(line, str) and line.key in _TELLING:
                facts.setdefault(line.key, line.value["value"])
        if len(facts) == len(_TELLING) or facts.get("submission_benchmark", "minigo") != "minigo":
            break
    return facts


def _text(lines: Sequence[Any], key: str) -> str:
    return _shown(next((line.value["value"] for line in lines if line.key == key), ""))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _unknown(benchmark: str) -> str:
    if not benchmark:
        return "submission_benchmark is missing (needed exactly once): only the rules common to all benchmarks were checked"
    return (f"submission_benchmark is {printable(benchmark[:60])!r}, which no ruleset knows (those with rules of their own here: "
            f"{', '.join(sorted(RULES))}): only the rules common to all benchmarks were checked")


def _hint(benchmark: str, chosen: str) -> str:
    others = ", ".join(ruleset for ruleset in rulesets_that_know(benchmark) if ruleset != chosen)
    rules = "the target is that of v0.5, whose rules are ours" if chosen == OWN else (
        f"{chosen} is the newest ruleset that knows {benchmark}")
    return f"{rules}; logs of other rounds: --ruleset {others}" if others else ""


def _order_of_times(lines: Sequence[Any]) -> list[str]:
    """What the official checker does not look at: whether the times of the timed region can be true.

    Rules (Run Results): the clock runs from run_start until the target is known to be reached.
    """
    times = {key: next((line.timestamp for line in lines if line.key == key), None) for key in ("run_start", "run_stop")}
    start, stop = times["run_start"], times["run_stop"]
    if start is None or stop is None:
        return []
    if stop < start:
        return [f"run_stop is {(start - stop) / 1000:g} seconds earlier than run_start"]
    outside = [line for line in lines if line.key == "eval_accuracy" and not start <= line.timestamp <= stop]
    if not outside:
        return []
    more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
    return [f"eval_accuracy has a time that is not between those of run_start and run_stop (line {outside[0].lineno}{more})"]


def passed(verdicts: Sequence[Verdict], findings: Sequence[str]) -> bool:
    """Whether everything keeps the rules."""
    return all(verdict.passed for verdict in verdicts) and not findings


def as_text(verdicts: Sequence[Verdict], findings: Sequence[str] = (), warnings: Sequence[str] = ()) -> str:
    """The verdict on each file with its violations, what was found across files, and the sum of it.

    Args:
      verdicts: of check_file.
      findings, warnings: of check_set.
    """
    lines = []
    for verdict in verdicts:
        lines.append(f"{'PASS' if verdict.passed else 'FAIL'} {_shown_path(verdict.path)}: {_what(verdict)}")
        lines += [f"  {text}" for text in verdict.violations]
        lines += [f"  warning: {text}" for text in verdict.warnings]
        lines += [f"  ({verdict.hint})"] if verdict.hint else []
    if findings or warnings:
        lines.append(f"{'FAIL' if findings else 'PASS'} across the files:")
        lines += [f"  {text}" for text in findings] + [f"  warning: {text}" for text in warnings]
    good = sum(verdict.passed for verdict in verdicts)
    if len(verdicts) > 1:
        lines.append(f"{good} of {len(verdicts)} files keep the rules" + (", but not as a set" if findings and good else ""))
    return "\n".join(map(printable, lines))


def _what(verdict: Verdict) -> str:
    rules = f"ruleset {verdict.ruleset}"
    if verdict.ruleset == OWN:
        official = default_ruleset(verdict.benchmark) not in (None, OWN)
        rules = "our own rules" if official else "our own rules, as no official ruleset knows it"
    division = f"{verdict.division[:60]} division" if verdict.division else "no division"
    return f"{verdict.benchmark[:60]}, {division}, {rules}" if verdict.benchmark else "no benchmark"


def _shown_path(path: Path) -> str:
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
