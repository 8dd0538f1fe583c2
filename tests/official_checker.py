"""The official compliance checker as it is, for tests that hold our reading of it against it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlperf_logging.compliance_checker import mlp_compliance


def official_violations(log: Path, ruleset: str, config: str | None = None) -> int:
    """How many different messages the official checker has about a log; 1 where it crashes."""
    mlp_compliance.enqueued_configs.clear()
    checker = mlp_compliance.make_checker("training", ruleset, quiet=True, werror=False)
    try:
        passed = mlp_compliance.main(str(log), config or f"training_{ruleset}/common.yaml", checker)[0]
    except Exception:
        return 1
    finally:
        mlp_compliance.enqueued_configs.clear()
    # "'a' or 'b'" and "'b' or 'a'" are one message; which of them it is, or both, is up to the hashes of the process.
    messages = len(checker.overwritable) + len({frozenset(text.split()) for text in checker.not_overwritable})
    assert passed == (not messages)
    return messages


def rules_parsed_once(patch: pytest.MonkeyPatch) -> None:
    """Keeps parsed rule files: the checker parses them anew for every log, which is most of its time."""
    parsed: dict[str, Any] = {}
    load: Callable[..., Any] = mlp_compliance.yaml.load

    def load_once(file: Any, Loader: Any) -> Any:
        if file.name not in parsed:
            parsed[file.name] = load(file, Loader=Loader)
        return parsed[file.name]

    patch.setattr(mlp_compliance.yaml, "load", load_once)
