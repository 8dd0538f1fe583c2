"""What a rule of the compliance checker asks for, in words: its rules are Python expressions over a line's value `v`."""

import ast
import operator
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from jax_mlperf.errors import printable
from jax_mlperf.mlperf.reading.run_log import as_number

_VALUE = re.escape("v['value']")
_COMPARED = {"==": "must be", ">": "must be more than", ">=": "must be at least", "<": "must be less than",
             "<=": "must be at most"}
# Rules about the order of lines, by their text without brackets.
_ORDER = {
    "not s['init_stopped']": "stands after init_stop", "not s['run_started']": "stands after run_start",
    "s['init_started']": "stands before init_start", "s['first_init_start'] is not None": "stands before init_start",
    "s['init_stopped'] == True": "stands before init_stop", "s['init_stopped']": "stands before init_stop",
    "s['run_started']": "stands before run_start",
    "s['run_started'] and not s['run_stopped']": "does not stand between run_start and run_stop",
    "s['block'] is None": "stands inside a block whose block_stop is missing",
    "s['block'] is not None": "stands outside of any block: block_start is missing before it",
    "s['in_eval']": "ends an evaluation whose eval_start is missing",
    "not s['in_eval']": "stands inside an evaluation whose eval_stop is missing",
    "s['measured']": "ends an evaluation without an eval_accuracy",
}
_LONGEST = 160


def shown(value: Any) -> str:
    """A value as messages show it: short, and without characters that a terminal would obey."""
    text = printable(repr(value))
    return text if len(text) <= 80 else f"{text[:77]}..."


def short_rule(test: str) -> str:
    """A rule for people: `value` for v['value'], names for what stands in metadata and in the checker's memory."""
    text = re.sub(r"v\['value'\]", "value", _bare(test))
    text = re.sub(r"v\['metadata'\](?:\.get\()?\[?'(\w+)'(?:\]|[^)]*\))", r"\1", text)
    text = re.sub(r"\bs\['(\w+)'\]", r"\1", text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _bare(test: str) -> str:
    """On one line, and without the condition that what it speaks of is there."""
    return re.sub(r" if '\w+' in v\['metadata'\] else True$", "", " ".join(test.split()))


def broken_rule(key: str, test: str, content: Any, state: Any, time_ms: float | None) -> str:
    """What is wrong with a line that breaks a rule.

    Args:
      key, content: of the line; content has "value" and "metadata".
      test: the rule.
      state: what the checker had in memory.
      time_ms: of the line.
    """
    value = content["value"]
    bare = _bare(test)
    while bare.startswith("(") and bare.endswith(")") and bare.count("(") == 1:
        bare = bare[1:-1].strip()
    if bare in _ORDER:
        return f"{key} {_ORDER[bare]}"
    if "ll.timestamp - s['first_init_start'] <" in bare:
        return _initialization(bare, state, time_ms)
    if re.fullmatch(rf"{_VALUE} (?:!= ''|not in \('', None\))", bare):
        return f"{key} is empty"
    names = re.findall(r"'(\w+)' in v\['metadata'\]", bare)
    if names and not re.sub(r"'\w+' in v\['metadata'\]|[()| ]|\bor\b", "", bare):
        return f"{key} has no {' or '.join(names)} in its metadata"
    compared = re.fullmatch(rf"{_VALUE} (==|>=?|<=?|in) (.+)", bare)
    if compared and _is_literal(compared[2]):
        allowed = ast.literal_eval(compared[2])
        if compared[1] == "in":
            return f"{key} is {shown(value)}, must be one of {', '.join(map(repr, allowed))}"
        return f"{key} is {shown(value)}, {_COMPARED[compared[1]]} {compared[2]}"
    what = f"{key} is {shown(value)}; the rule is" if "v['value']" in bare else f"{key} breaks the rule"
    return f"{what} {short_rule(bare)}{_known(bare, state, content)}"


def _known(test: str, state: Any, content: Any) -> str:
    """The values of the names in a rule, other than the value itself."""
    places = [(r"\bs\['(\w+)'\]", state), (r"v\['metadata'\](?:\.get\(|\[)'(\w+)'", content.get("metadata"))]
    found = {name: place[name] for pattern, place in places if isinstance(place, dict)
             for name in re.findall(pattern, test) if name in place}
    return f" where {', '.join(f'{name} is {shown(value)}' for name, value in found.items())}" if found else ""


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


def _initialization(test: str, state: Any, time_ms: float | None) -> str:
    state = state if isinstance(state, dict) else {}
    fixed = re.search(r"\((\d+)\*60", test)
    limit = as_number(int(fixed[1]) if fixed else state.get("compile_time_mins", state.get("limit_minutes")))
    first = as_number(state.get("first_init_start"))
    if not limit:
        return "init_stop stands before submission_division, which says how long initialization may take"
    if first is None or time_ms is None or first > time_ms:
        return f"init_stop is not within {limit:g} minutes of init_start"
    took = timedelta(milliseconds=round(time_ms - first))
    return f"init_stop comes {took} (h:mm:ss) after init_start, must be less than {limit:g} minutes"


class _Condition(NamedTuple):
    name: str
    relation: str
    bound: float

    def holds(self, value: float) -> bool:
        """Whether a value meets it."""
        compare = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}[self.relation]
        return bool(compare(value, self.bound))


_CONDITION = re.compile(rf"{_VALUE}(?:\['(\w+)'\])? (>=|<=|>|<) ([\d.]+(?:e[+-]?\d+)?)")


def target_missed(key: str, test: str, lines: Sequence[Any]) -> str:
    """That no line of a key meets the target, and how near the best one comes.

    Args:
      key: eval_accuracy.
      test: the rule of which one line has to hold.
      lines: those of the key.
    """
    conditions = [_Condition(name, relation, float(bound)) for name, relation, bound in _CONDITION.findall(test)]
    goals = {condition.name: condition for condition in reversed(conditions)}  # of each name the first; the rest are bounds
    simple = conditions and not re.sub(r"\band\b|[() ]", "", _CONDITION.sub("", test))
    values = [(numbers, line) for line in lines if (numbers := _numbers(line.value["value"], goals))]
    if not simple or not values:
        found = f" (values from {_range(lines)})" if values else ""
        return f"{key}: no line holds the rule {short_rule(test)}{found}"
    best, line = max(values, key=lambda entry: min(_margin(goals[name], entry[0][name]) for name in goals))
    at = f"best {_listed(best)}{_epoch(line)}"
    if all(goals[name].holds(best[name]) for name in goals) or all(goal.relation == "<" for goal in goals.values()):
        return f"{key}: no evaluation holds the rule {short_rule(test)} ({at}); it wants fractions, not per cent"
    over = {">": "more than ", "<": "less than "}
    targets = {name: f"{over.get(goal.relation, '')}{goal.bound:g}" for name, goal in reversed(goals.items())}
    return f"{key}: no evaluation reached {_listed(targets)} ({at})"


def _numbers(value: Any, names: Sequence[str] | dict[str, Any]) -> dict[str, float] | None:
    """The numbers that the conditions are about, by name; "" for a value that is one number."""
    values = value if isinstance(value, dict) else {"": value}
    numbers = {name: number for name in names if (number := as_number(values.get(name))) is not None}
    return numbers if names and len(numbers) == len(names) else None


def _margin(goal: _Condition, value: float) -> float:
    return value - goal.bound if goal.relation in (">=", ">") else goal.bound - value


def _range(lines: Sequence[Any]) -> str:
    values = [number for line in lines if (number := as_number(line.value["value"])) is not None]
    return f"{min(values)} to {max(values)}" if values else "none"


def _listed(values: dict[str, Any]) -> str:
    return " and ".join(f"{name} {value}".strip() for name, value in sorted(values.items()))


def _epoch(line: Any) -> str:
    metadata = line.value["metadata"] if isinstance(line.value["metadata"], dict) else {}
    names = {"epoch_num": "epoch", "samples_count": "samples", "step_num": "step"}
    return next((f", {word} {shown(metadata[name])}" for name, word in names.items() if name in metadata), "")


def tensors_differ(test: str, lines: Sequence[Any]) -> str:
    """Which weights_initialization lines are missing, needless, or there more than once."""
    wanted = set(re.findall(r"[\"']([^\"']+)[\"']", test)) - {"initialized_tensors"}
    there = Counter(str(line.value["metadata"].get("tensor")) for line in lines
                    if line.key == "weights_initialization" and isinstance(line.value["metadata"], dict))
    kinds = [("missing", sorted(wanted - set(there))), ("not expected", sorted(set(there) - wanted)),
             ("more than once", sorted(name for name, count in there.items() if count > 1 and name in wanted))]
    parts = [f"{len(names)} {kind}: {', '.join(shown(name) for name in names[:3])}{', ...' if len(names) > 3 else ''}"
             for kind, names in kinds if names]
    return f"weights_initialization does not name the {len(wanted)} tensors of the rules, each once ({'; '.join(parts)})"
