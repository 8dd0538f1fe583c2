"""The compliance checker's messages in words a person understands; what is not recognised is passed through whole."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from jax_mlperf.mlperf.checking.checker_lines import shown_line
from jax_mlperf.mlperf.checking.checker_rule_words import broken_rule, short_rule, shown, target_missed, tensors_differ

# How the engine of ours begins its message about lines that the checker cannot bear.
UNREADABLE = "The rules cannot be applied to "
_MISSING = {
    "run_stop": "run_stop is missing: the log is cut off, or the run was killed or is still running",
    "run_start": "run_start is missing: the log is cut off, or the run ended before training began",
}


class Message(NamedTuple):
    """What the checker said, as it says it; the log key that it is about, where it is about one."""

    key: str | None
    text: str


class _Words(NamedTuple):
    text: str
    line: int | None = None


def in_words(messages: Sequence[Message], lines: Sequence[Any], more: Mapping[str | None, int]) -> list[str]:
    """One text for each different message, in their order; messages that say the same of several lines become one.

    Args:
      messages: the checker's.
      lines: what it checked.
      more: how many more messages of a key there were.
    """
    groups: dict[tuple[str | None, str], list[_Words]] = {}
    for message in messages:
        words = _words(message, lines)
        # Of the values that break one rule of one key, the first is told.
        rule = _FAILED_TEST.search(message.text)
        groups.setdefault((message.key, rule[1] if rule else words.text), []).append(words)
    texts = []
    for (key, _), same in groups.items():
        text, line = same[0]
        others = len(same) - 1 + more.get(key, 0)
        place = "" if line is None else f" (line {line} and {others} more)" if others else f" (line {line})"
        texts.append(text + place)
    return texts


def _words(message: Message, lines: Sequence[Any]) -> _Words:
    for pattern, words_of in _FAMILIES:
        match = pattern.fullmatch(message.text)
        if match:
            return words_of(match.groupdict(), lines, message.key)
    return _Words(f"{message.key}: {message.text}" if message.key and message.key not in message.text else message.text)


_FAILED_TEST = re.compile(r"(?:\nfailed test: |Failed executing CHECK code:\n)(.*?)\n(?:current context|triggered by)", re.DOTALL)
_Groups = dict[str, Any]


def _check_failed(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    content, state = json.loads(groups["content"]), json.loads(groups["state"])
    time_ms = next((line.timestamp for line in lines if line.lineno == int(groups["line"])), None)
    return _Words(broken_rule(groups["key"], groups["test"].strip(), content, state, time_ms), int(groups["line"]))


def _not_executed(groups: _Groups, lines: Sequence[Any], key: str | None) -> _Words:
    line = _line_of(groups["text"], lines)
    if line is None:
        return _Words(f"{key}: the rule {short_rule(groups['test'])} cannot be applied to: {shown_line(groups['text'])}")
    value, metadata = line.value["value"], line.value["metadata"]
    if not isinstance(metadata, dict):
        return _Words(f"{key} has metadata that are no object but {shown(metadata)}", line.lineno)
    return _Words(f"{key} is {shown(value)}, to which its rule cannot be applied: {short_rule(groups['test'])}", line.lineno)


def _no_code(groups: _Groups, lines: Sequence[Any], key: str | None) -> _Words:
    line = _line_of(groups["text"], lines)
    return _Words(f"{key} cannot be used by the rules: {shown_line(groups['text'])}", line.lineno if line else None)


def _unreadable(groups: _Groups, lines: Sequence[Any], key: str | None) -> _Words:
    line = _line_of(groups["text"], lines)
    what = f"{key}: the rules cannot be applied to the value {shown(line.value['value'])}" if line else shown_line(groups["text"])
    count = f", nor to {int(groups['count']) - 1} more like it" if int(groups["count"]) > 1 else ""
    return _Words(f"{what}{count}: {groups['reason']}", line.lineno if line else None)


def _target(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    return _Words(target_missed(groups["key"], groups["test"].strip(), [line for line in lines if line.key == groups["key"]]))


def _exactly(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    key, count = groups["key"], int(groups["count"])
    if not count:
        return _Words(_MISSING.get(key, f"{key} is missing (needed exactly once)"))
    if not groups["differ"]:
        return _Words(f"{key} stands there {count} times with the same value (needed exactly once)")
    values = list(dict.fromkeys(shown(line.value["value"]) for line in lines if line.key == key))
    listed = ", ".join(values[:5]) + (", ..." if len(values) > 5 else "")
    return _Words(f"{key} stands there {count} times with different values: {listed}")


def _at_least(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    key, least, count = groups["key"], int(groups["least"] or 1), int(groups["count"])
    if count:
        return _Words(f"{key} stands there {count} times (needed at least {least} times)")
    return _Words(f"{key} is missing (needed at least {'once' if least == 1 else f'{least} times'})")


def _one_of(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    keys = sorted(re.findall(r"'([^']*)'", groups["keys"]))
    return _Words(f"{' and '.join(keys)} are missing (one of them is needed)")


def _no_file(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    file = PurePath(groups["file"])
    return _Words(f"the rules {shown_line(file.parent.name)} have no file {shown_line(file.name)}: they do not know this "
                  "benchmark, division or optimizer")


def _end_rule(groups: _Groups, lines: Sequence[Any], _: str | None) -> _Words:
    if "initialized_tensors" in groups["test"]:
        return _Words(tensors_differ(groups["test"], lines))
    state = json.loads(groups["state"])
    known = {name: value for name, value in state.items() if f"'{name}'" in groups["test"]} if isinstance(state, dict) else {}
    values = ", ".join(f"{name} is {shown(value)}" for name, value in known.items())
    return _Words(f"a rule on the whole log does not hold: {short_rule(groups['test'])}{f' ({values})' if values else ''}")


def _line_of(text: str, lines: Sequence[Any]) -> Any:
    return next((line for line in lines if line.full_string == text), None)


_FAMILIES: tuple[tuple[re.Pattern[str], Callable[[_Groups, Sequence[Any], str | None], _Words]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), words_of) for pattern, words_of in (
        (r"CHECK for '(?P<key>.*)' failed in line (?P<line>\d+):\n(?P<text>[^\n]*)\nfailed test: (?P<test>.*?)"
         r"\ncurrent context\[s\]=(?P<state>.*)\ncurrent line\[v\]=(?P<content>.*)", _check_failed),
        (r"Failed executing CHECK code:\n(?P<test>.*?)\ntriggered by line:\n(?P<text>[^\n]*)\n.*", _not_executed),
        (r"Failed executing code \w+ code triggered by line :\n(?P<text>[^\n]*)", _no_code),
        (r"Failed checks for (?P<key>\S+) : (?P<test>.*)", _target),
        (r"Required EXACTLY_ONE occurrence of '(?P<key>[^']*)' but found (?P<count>\d+)(?P<differ> with different values.*)?",
         _exactly),
        (r"Required AT_LEAST(?:_ONE|\((?P<least>\d+)\)) occurrence of '(?P<key>[^']*)' but found (?P<count>\d+)", _at_least),
        (r"Required AT_LEAST_ONE occurrence of (?P<keys>'[^']*'(?: or '[^']*')+)", _one_of),
        (r"Could not find config file: (?P<file>.*)", _no_file),
        (r"(?:failed test: |Failed executing CHECK code:\n)(?P<test>.*?)\ncurrent context\[s\]=(?P<state>.*)", _end_rule),
        (re.escape(UNREADABLE) + r"(?P<key>[^\n]*): (?P<reason>[^\n]*)\n(?P<count>\d+)\n(?P<text>.*)", _unreadable),
    ))
