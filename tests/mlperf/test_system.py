"""Clearing the caches."""

from jax_mlperf.mlperf.system import clear_file_caches


def test_clear_file_caches_says_whether_it_was_allowed(tmp_path):
    assert clear_file_caches(tmp_path / "drop_caches")
    assert (tmp_path / "drop_caches").read_text() == "3\n"
    assert not clear_file_caches(tmp_path / "absent" / "drop_caches")
