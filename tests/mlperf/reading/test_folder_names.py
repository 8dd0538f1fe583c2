"""Short names of result folders."""

from pathlib import Path

from jax_mlperf.mlperf.reading.folder_names import short_names


def test_names_are_as_short_as_they_may_be() -> None:
    assert short_names([Path("/a/x/r"), Path("/b/x/r")]) == ["a/x/r", "b/x/r"]
    assert short_names([Path("/results/resnet")]) == ["results/resnet"]
    assert short_names([]) == []
