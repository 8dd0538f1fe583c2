"""Logs that pass, and the official rules parsed once."""

import pytest
from generated_logs import write_run
from official_checker import rules_parsed_once


@pytest.fixture(autouse=True, scope="module")
def quick_rules():
    with pytest.MonkeyPatch.context() as patch:
        rules_parsed_once(patch)
        yield


@pytest.fixture(scope="session")
def logs(tmp_path_factory):
    """Benchmark -> a log that passes."""
    folder = tmp_path_factory.mktemp("logs")
    return {name: write_run(folder / f"{name}.txt", name, ruleset_lines=False)
            for name in ("resnet", "bert", "maskrcnn", "transformer", "minigo")}
