"""Reading scaling.json, and MLBench's numbers of a study."""

import json
from pathlib import Path

import pytest

from jax_mlperf.report.scaling import read_scaling


def test_a_study_is_sorted_by_workers_and_compared_with_the_fewest(study: Path) -> None:
    [found] = read_scaling([study.parent, study / "scaling.json"])
    assert found.folder == study and not found.problems
    assert [entry.workers for entry in found.entries] == [1, 2, 4, 16]
    assert found.speedups() == pytest.approx([1, 100 / 60, 2.5, 5])
    assert found.compute_speedups() == pytest.approx([1, 2, 4, 10])
    assert found.price_indices() == pytest.approx([1, 1.2, 1.6, 3.2])
    assert [entry.communication_seconds / entry.train_seconds for entry in found.entries] == pytest.approx([0, 1 / 6, 0.375, 0.5])
    assert [entry.run is not None for entry in found.entries] == [True, True, False, False]


@pytest.mark.parametrize("text, workers, problems", [
    ("{", [], 1), ('{"workers": 1}', [], 1), ("[]", [], 0), ("[" * 100_000, [], 1),
    (json.dumps([{"workers": "2"}, 3, None, {"workers": 1, "train_seconds": 10}, {"workers": 1, "train_seconds": 9},
                 {"workers": 4, "train_seconds": 0}, {"workers": 2.5, "train_seconds": 1}, {"workers": True, "train_seconds": 1}]), [1], 7)])
def test_damaged_files_are_told_in_words(tmp_path: Path, text: str, workers: list[int], problems: int) -> None:
    (tmp_path / "scaling.json").write_text(text)
    [found] = read_scaling([tmp_path])
    assert [entry.workers for entry in found.entries] == workers
    assert len(found.problems) == problems


def test_no_study_is_no_mistake(tmp_path: Path) -> None:
    assert read_scaling([tmp_path, tmp_path / "absent"]) == []
