"""ncf:tiny through run.py in real processes: killed in the middle, resumed to its target (no ruleset of the checker knows it)."""

import pytest
from tiny_runs import assert_keeps_our_rules, assert_reached, killed_and_resumed

pytestmark = pytest.mark.slow


def test_ncf_tiny(tmp_path, repository):
    _, resumed = killed_and_resumed(tmp_path, repository, "configs/ncf.py:tiny", "--config.seed=1")
    assert_reached(tmp_path, resumed, least=0.635)
    assert_keeps_our_rules(tmp_path)
