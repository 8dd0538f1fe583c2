"""resnet50:tiny and cifar10:tiny through run.py in real processes: killed in the middle, resumed to their targets, checked."""

import pytest
from tiny_runs import assert_keeps_our_rules, assert_passes_the_official_checker, assert_reached, killed_and_resumed, log_lines

pytestmark = pytest.mark.slow


def test_resnet50_tiny(tmp_path, repository):
    _, resumed = killed_and_resumed(tmp_path, repository, "configs/resnet50.py:tiny")
    assert_reached(tmp_path, resumed, least=0.9)
    assert_passes_the_official_checker(tmp_path, "4.0.0")


@pytest.mark.parametrize("overrides", [(), ("--config.data.workers=4", "--config.data.batch_size=25")], ids=["one_worker", "four_workers"])
def test_cifar10_tiny(tmp_path, repository, overrides):
    _, resumed = killed_and_resumed(tmp_path, repository, "configs/cifar10.py:tiny", *overrides)
    assert_reached(tmp_path, resumed, least=0.9)
    assert_keeps_our_rules(tmp_path)
    seconds = next(line["value"] for line in log_lines(tmp_path / "w" / "result_0.txt") if line["key"] == "phase_seconds")
    assert seconds["train"] > seconds["input_wait"], "MLBench's clock: training batches without the wait for data"
