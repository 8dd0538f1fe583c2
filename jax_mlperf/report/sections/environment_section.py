"""Environment, configuration and hyperparameters side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.drawing.numbers import plural
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.shown import Shown

_MOST_KEYS = 400
_LONG = 40
_DEEPEST = 8
# Facts of a log that say who ran what, and are told elsewhere, or differ in every run.
_NOT_HYPERPARAMETERS = ("submission_", "cache_clear", "seed", "phase_seconds", "compilations_in_timed_region", "quality_target")


def environment_section(sets: Sequence[Shown]) -> Markup:
    """Up to three tables: environment.json, config.json, and facts of the logs that have no config.json."""
    foreign = [shown for shown in sets if not _config(shown)]
    return join(_compare("Environment", sets, _environment), _compare("Configuration", sets, _config),
                _compare("Hyperparameters in the logs", foreign, _facts))


def flatten(record: Any, prefix: str = "", depth: int = 0) -> dict[str, str]:
    """Nested values by dotted keys, as text; lists in one piece, and what lies deeper than any config left out."""
    if not isinstance(record, Mapping) or depth > _DEEPEST:
        return {prefix: _text(record) if depth <= _DEEPEST else "…"}
    found: dict[str, str] = {}
    for key, value in record.items():
        if len(found) < _MOST_KEYS:
            found |= flatten(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _environment(shown: Shown) -> dict[str, str]:
    record = shown.result_set.records.get("environment")
    return flatten(record) if isinstance(record, Mapping) else {}


def _config(shown: Shown) -> dict[str, str]:
    record = shown.result_set.records.get("config")
    config = record.get("config") if isinstance(record, Mapping) else None
    return flatten(config) if isinstance(config, Mapping) else {}


def _facts(shown: Shown) -> dict[str, str]:
    """What the runs logged, where they agree; a value that differs between runs of a folder is told as such."""
    found: dict[str, str] = {}
    for run in shown.runs:
        for key, value in run.facts.items():
            if key.startswith(_NOT_HYPERPARAMETERS):
                continue
            text = _text(value)
            found[key] = text if found.get(key, text) == text else "differs from run to run"
    return found


def _compare(title: str, sets: Sequence[Shown], read: Callable[[Shown], dict[str, str]]) -> Markup | str:
    columns = [(shown, found) for shown in sets if (found := read(shown))]
    if not columns:
        return ""
    keys = sorted({key for _, found in columns for key in found})[:_MOST_KEYS]
    differing = [key for key in keys if len({found.get(key, "–") for _, found in columns}) > 1]
    same = [key for key in keys if key not in differing]
    if len(columns) == 1:
        rows = [(key, _value(columns[0][1].get(key, "–"))) for key in keys]
        inner = blocks.table(("Key", columns[0][0].name), rows, text_columns=2, caption=title)
        return blocks.folded(f"{title} ({plural(len(keys), 'value')})", inner)
    parts: list[Markup] = [tag("h4", title)]
    if differing:
        compared = [(key, *(_value(found.get(key, "–")) for _, found in columns)) for key in differing]
        table = blocks.table(("Key", *(shown.name for shown, _ in columns)), compared, text_columns=len(columns) + 1,
                             caption=f"{title}: what differs")
        parts.append(table if len(compared) <= _LONG
                     else blocks.folded(plural(len(compared), "value differs", "values differ"), table))
    else:
        parts.append(tag("p", "No value differs.", class_="note"))
    if same:
        rows = [(key, _value(columns[0][1].get(key, "–"))) for key in same]
        parts.append(blocks.folded(f"{plural(len(rows), 'value is', 'values are')} the same in all folders",
                                   blocks.table(("Key", "Value"), rows, text_columns=2, caption=f"{title}: what is the same")))
    return join(*parts)


def _value(text: str) -> str:
    return clean(text, 160)
