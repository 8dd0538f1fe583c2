"""Runs the official compliance checker over parsed lines, in this process: quietly, and past what crashes it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mlperf_logging.compliance_checker import mlp_compliance

from jax_mlperf.mlperf.checking.checker_rulesets import OFFICIAL, OWN_FOLDER
from jax_mlperf.mlperf.checking.checker_words import UNREADABLE, Message

_MOST_MESSAGES = 100
_MOST_RESTARTS = 20


class Findings(NamedTuple):
    """Messages that make a log fail, warnings that do not, and how many more messages of a key there were."""

    messages: list[Message]
    warnings: list[Message]
    more: dict[str | None, int]


def run_checker(lines: Sequence[Any], config: str, ruleset: str) -> Findings:
    """What the checker finds.

    Lines that make it crash (a quality that is text, say) are reported as one message for all lines of that key with a value
    of that shape, and the check starts again without them, so that nothing stays hidden behind them.

    Args:
      lines: of checker_lines.
      config: first rule file: relative to the checker's own folder, or absolute.
      ruleset: of the parser, for the checker's records.
    """
    crashes: list[Message] = []
    remaining = list(lines)
    while True:
        checker = _Checker(ruleset)
        try:
            checker.run(_Traced(remaining), config)
        except _CrashError as crash:
            like = [line for line in remaining if _shape(line) == _shape(crash.line)]
            text = f"{UNREADABLE}{crash.line.key}: {crash.reason}\n{len(like)}\n{crash.line.full_string}"
            crashes.append(Message(crash.line.key, text))
            if len(crashes) < _MOST_RESTARTS:
                remaining = [line for line in remaining if _shape(line) != _shape(crash.line)]
                continue
        unreadable = {message.key for message in crashes}
        found = [message for message in checker.found if not (message.key in unreadable and message.text.startswith("Required"))]
        warnings = [Message(key, text) for key, text in checker.warnings.items()]
        return Findings(crashes + found, warnings, dict(checker.more))


class _CrashError(Exception):
    def __init__(self, line: Any, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


class _Traced(list[Any]):
    """Lines that remember which of them is being read: the one that an exception is about."""

    current: Any = None

    def __iter__(self) -> Iterator[Any]:
        for line in super().__iter__():
            self.current = line
            yield line
        self.current = None


class _Checker(mlp_compliance.ComplianceChecker):
    """The official checker; it keeps every message, where the original keeps the last one of each key."""

    def __init__(self, ruleset: str) -> None:
        super().__init__("training", ruleset, quiet=False, werror=False)
        self.found: list[Message] = []
        self.kept: Counter[str | None] = Counter()
        self.more: Counter[str | None] = Counter()

    def put_message(self, msg: str, key: str | None = None) -> None:
        """Called by the checker for each violation."""
        if self.kept[key] < _MOST_MESSAGES:
            self.kept[key] += 1
            self.found.append(Message(key, msg))
        else:
            self.more[key] += 1

    def overwrite_messages(self, keys: Any) -> None:
        """Called by the checker when a rule file says anew what holds for these keys."""
        self.found = [message for message in self.found if message.key is None or message.key not in keys]
        for key in keys:
            self.kept.pop(key, None)
            self.more.pop(key, None)

    def run(self, lines: _Traced, config: str) -> None:
        """All rule files: the first one, and those that the lines call for in turn (division, benchmark, optimizer)."""
        # A list of the module, in which an earlier exception may have left something.
        queue = mlp_compliance.enqueued_configs
        queue.clear()
        pending, done = [config], set()
        try:
            while pending:
                name = pending.pop(0)
                if name in done:
                    continue
                done.add(name)
                self._run_one(lines, name)
                pending += queue
                queue.clear()
        finally:
            queue.clear()

    def _run_one(self, lines: _Traced, name: str) -> None:
        file = _rule_file(name)
        if file is None:
            self.put_message(f"Could not find config file: {name}")
            return
        try:
            self.configured_checks(lines, str(file))
        except Exception as error:
            if lines.current is not None:
                reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise _CrashError(lines.current, reason) from error
            self.put_message(f"The checker could not finish {Path(name).name}: {type(error).__name__}: {error}")


def _rule_file(name: str) -> Path | None:
    """The file of a name; None where it is missing, or lies outside of the rules: rule files are code, and logs name them."""
    file = Path(os.path.join(OFFICIAL, name))
    try:
        file = file.resolve()
        inside = file.is_relative_to(OFFICIAL) or file.is_relative_to(OWN_FOLDER)
        return file if inside and file.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _shape(line: Any) -> tuple[Any, ...]:
    """Key of a line, kind of its value, and names of its metadata: what decides whether a rule can be applied."""
    value, metadata = line.value["value"], line.value["metadata"]
    kinds = [sorted(entry) if isinstance(entry, dict) else type(entry).__name__ for entry in (value, metadata)]
    return (str(line.key), *kinds)
