"""What is found across the files of a folder."""

import hashlib
import json
import warnings

import pytest
from generated_logs import START_MS, write_result_set, write_run
from mlperf_logging.package_checker.seed_checker import SeedChecker

from jax_mlperf.mlperf.checking.check_set import check_set, set_warnings
from jax_mlperf.mlperf.reading.result_set import read_result_sets

MINUTES = [30.0, 31.0, 32.0, 33.0, 34.0]


def findings(folder, ruleset="4.0.0"):
    (result_set,) = read_result_sets([folder])
    return check_set(result_set, ruleset)


def replace(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def official_seeds(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SeedChecker("4.0.0").check_seeds(sorted(map(str, folder.glob("result_*.txt"))))


@pytest.fixture
def folder(tmp_path):
    """Five runs of the same length but one, as a real result set has them."""
    return write_result_set(tmp_path, "transformer", MINUTES, [4] * 5)


def test_nothing_is_found_in_a_good_set(folder):
    assert findings(folder) == [] and official_seeds(folder)
    assert set_warnings(read_result_sets([folder])[0]) == []


@pytest.mark.parametrize(("before", "after", "said"), [
    ('"key": "seed", "value": 1001', '"key": "seed", "value": 1000', "result_1.txt has seed 1000 as in result_0.txt: each run needs its own"),
    ('"key": "seed", "value": 1001', '"key": "seed", "value": "1000"', "result_1.txt has seed 1000 as in result_0.txt: each run needs its own"),
    ('"key": "seed", "value": 1001', '"key": "seed", "value": "x"', "result_1.txt: the seed 'x' is no integer"),
    ('"key": "seed", "value": 1001', '"key": "seed", "value": null', "result_1.txt: the seed 'None' is no integer"),
    ('"key": "seed", "value": 1001', '"key": "seeds", "value": 1001', "result_1.txt logs no seed"),
])
def test_seeds_as_the_official_seed_checker_judges_them(folder, before, after, said):
    replace(folder / "result_1.txt", before, after)
    assert findings(folder) == [said] and not official_seeds(folder)
    assert findings(folder, "0.7.0") == [], "the rule is newer"
    assert findings(folder, "own") == [said]


def test_the_same_seed_from_another_line_is_another_seed(folder):
    replace(folder / "result_1.txt", '"key": "seed", "value": 1001, "metadata": {"file": "run.py", "lineno": 8}',
            '"key": "seed", "value": 1000, "metadata": {"file": "run.py", "lineno": 9}')
    assert findings(folder) == [] and official_seeds(folder)


def test_a_seed_line_without_its_place(folder):
    replace(folder / "result_1.txt", '"value": 1001, "metadata": {"file": "run.py", "lineno": 8}', '"value": 1001, "metadata": {}')
    assert findings(folder) == ["result_1.txt: the line of seed 1001 does not name the file and lineno that logged it"]
    assert not official_seeds(folder)


def test_open_division_needs_no_seed(tmp_path):
    for number in range(2):
        log = write_run(tmp_path / f"result_{number}.txt", "transformer", division="open", start_ms=START_MS + number * 10_000_000)
        replace(log, '"key": "seed"', '"key": "none"')
    assert findings(tmp_path) == []


def test_a_copied_result_is_found_though_its_seed_differs(folder):
    text = (folder / "result_0.txt").read_text()
    (folder / "result_3.txt").write_text(text.replace('"seed", "value": 1000', '"seed", "value": 1003'))
    assert findings(folder) == ["result_3.txt looks like a copy of result_0.txt: run_start, evaluations and run_stop have the same times"]


def run_with_evaluations(path, seed, start_ms, milliseconds, values):
    """A run with an evaluation for each value, so many milliseconds after run_start."""
    lines = [("submission_benchmark", "resnet", 0, {}), ("submission_division", "closed", 0, {}), ("submission_platform", "x", 0, {}),
             ("seed", seed, 0, {"file": "run.py", "lineno": 1}), ("run_start", None, 0, {})]
    lines += [("eval_accuracy", value, time, {"epoch_num": epoch}) for epoch, (time, value) in enumerate(zip(milliseconds, values, strict=True), 1)]
    lines += [("run_stop", None, milliseconds[-1] + 1, {"status": "success"})]
    path.write_text("".join(":::MLLOG " + json.dumps({"time_ms": start_ms + time, "key": key, "value": value, "metadata": metadata}) + "\n"
                            for key, value, time, metadata in lines))


@pytest.mark.parametrize(("milliseconds", "values", "said"), [
    ([1000, 2005, 3011], [0.2, 0.5, 0.7], "all evaluations are equally far from run_start, to the millisecond"),
    ([1000, 2005, 3012], [0.1, 0.4, 0.76], "all 3 evaluations have the same values"),
    ([1000, 2005, 3012], [0.1, 0.4, 0.77], None),
    ([1000, 3011], [0.1, 0.76], None),
])
def test_a_result_copied_with_other_times_or_values(tmp_path, milliseconds, values, said):
    count = len(values)
    run_with_evaluations(tmp_path / "result_0.txt", 1, START_MS, [1000, 2005, 3011][-count:], [0.1, 0.4, 0.76][-count:])
    run_with_evaluations(tmp_path / "result_1.txt", 2, START_MS + 50_000, milliseconds, values)
    assert findings(tmp_path) == ([f"result_1.txt looks like a copy of result_0.txt: {said}"] if said else [])


@pytest.mark.parametrize(("before", "after", "said"), [
    ('"global_batch_size", "value": 2048', '"global_batch_size", "value": 1024',
     "the global batch size is not the same in all files: 2048 in result_0.txt, result_1.txt, result_3.txt and 1 more; 1024 in result_2.txt"),
    ('"submission_benchmark", "value": "transformer"', '"submission_benchmark", "value": "bert"', "the benchmark is not the same in all files"),
    ('"submission_division", "value": "closed"', '"submission_division", "value": "open"', "the division is not the same in all files"),
    ('"submission_platform", "value": "1xH200"', '"submission_platform", "value": "2xH200"', "the platform is not the same in all files"),
])
def test_files_of_different_results(folder, before, after, said):
    replace(folder / "result_2.txt", before, after)
    (found,) = findings(folder)
    assert found.startswith(said)


def test_overlapping_runs_are_unusual_but_allowed(tmp_path):
    write_run(tmp_path / "result_0.txt", "transformer", seed=1)
    write_run(tmp_path / "result_1.txt", "transformer", seed=2, start_ms=START_MS + 600_000)
    assert findings(tmp_path) == []
    assert set_warnings(read_result_sets([tmp_path])[0]) == [
        "result_1.txt began at 2023-11-14 22:24:20 UTC, before result_0.txt ended at 2023-11-14 22:44:20 UTC: two runs at once on one platform"]


def seal(folder, number, **record):
    """The record that a run leaves beside its log."""
    log = folder / f"result_{number}.txt"
    (folder / f"run_{number}").mkdir(exist_ok=True)
    record = {"minutes": MINUTES[number], "seed": 1000 + number, "quality": {"bleu": 25.12, "loss": 1.5},
              "log_sha256": hashlib.sha256(log.read_bytes()).hexdigest()} | record
    (folder / f"run_{number}" / "summary.json").write_text(json.dumps(record))


def test_logs_that_are_as_their_runs_left_them(folder):
    for number in range(5):
        seal(folder, number)
    assert findings(folder) == []


@pytest.mark.parametrize(("record", "said"), [
    ({"log_sha256": "0" * 64}, "result_1.txt is not as its run left it: its SHA-256 differs from the one in the run's summary.json"),
    ({"minutes": 30.9}, "result_1.txt lasts 31.000 minutes, but its run's summary.json says 30.900"),
    ({"seed": 5}, "result_1.txt has seed 1001, but its run's summary.json says 5"),
    ({"quality": {"bleu": 25.2, "loss": 1.5}}, "result_1.txt ends with quality 0.2512, but its run's summary.json says 25.2, 1.5"),
    ({"quality": {"accuracy": 0.2512000004}}, None), ({"log_sha256": None, "minutes": "x", "seed": None, "quality": [1]}, None),
])
def test_a_log_that_is_not_the_one_its_run_left(folder, record, said):
    seal(folder, 1, **record)
    assert findings(folder) == ([said] if said else [])


def test_one_changed_byte_breaks_the_seal(folder):
    seal(folder, 0)
    log = folder / "result_0.txt"
    log.write_bytes(log.read_bytes()[:-1])
    assert findings(folder) == ["result_0.txt is not as its run left it: its SHA-256 differs from the one in the run's summary.json"]


def test_a_log_that_was_taken_away(folder):
    seal(folder, 4)
    (folder / "result_4.txt").unlink()
    assert findings(folder) == ["run_4 has a summary.json, but its log result_4.txt is missing"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"quality": {"a": "b"}}', "[" * 100_000])
def test_a_damaged_record_says_nothing(folder, content):
    seal(folder, 0)
    (folder / "run_0" / "summary.json").write_text(content)
    assert findings(folder) == []


def test_published_sets(shared_data):
    """NVIDIA ran its five Mask R-CNNs at the same time on machines of one name."""
    for part, ruleset, unusual in (("v0.7/google-tpu-v3-8192-JAX/bert", "0.7.0", 0), ("v2.0/nvidia-dgxa100/maskrcnn", "2.0.0", 4)):
        (result_set,) = read_result_sets([shared_data / "mlperf_logs" / part])
        assert check_set(result_set, ruleset) == [] and len(set_warnings(result_set)) == unusual
