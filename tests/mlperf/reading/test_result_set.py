"""Finding result files below folders."""

import os

import pytest
from generated_logs import write_run

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import read_result_sets


def test_folders_files_and_numbers(tmp_path):
    for index in (0, 2, 10):
        write_run(tmp_path / "system" / "resnet" / f"result_{index}.txt", "resnet", seed=index, ruleset_lines=False)
    write_run(tmp_path / "system" / "bert" / "result_0.txt", "bert", ruleset_lines=False)
    (tmp_path / "system" / "resnet" / "result_x.txt").write_text("no result")
    (tmp_path / "system" / "resnet" / "config.json").write_text('{"config": {"runs": 3}}')
    (tmp_path / "system" / "resnet" / "environment.json").write_text("{broken")
    bert, resnet = read_result_sets([tmp_path, tmp_path / "system" / "bert"])
    assert (bert.benchmark, len(bert.runs), resnet.benchmark, resnet.name) == ("bert", 1, "resnet", "system/resnet")
    assert [run.seeds for run in resnet.runs] == [[0], [2], [10]], "by number, not by name"
    assert resnet.records == {"config": {"config": {"runs": 3}}} and bert.records == {}


def test_a_single_file_of_any_name(tmp_path):
    path = write_run(tmp_path / "slurm-17.out", "bert", ruleset_lines=False)
    assert [run.path for run in read_result_sets([path])[0].runs] == [path]


def test_a_folder_with_two_names_is_read_once(tmp_path):
    for index in range(3):
        write_run(tmp_path / "runs" / f"result_{index}.txt", "bert", ruleset_lines=False)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    found, = read_result_sets([tmp_path / "link", tmp_path / "runs", tmp_path / "runs" / ".." / "runs" / "result_0.txt"])
    assert [run.path for run in found.runs] == [tmp_path / "link" / f"result_{index}.txt" for index in range(3)]


def test_records_that_are_no_files(tmp_path):
    write_run(tmp_path / "result_0.txt", "bert", ruleset_lines=False)
    os.mkfifo(tmp_path / "config.json")
    (tmp_path / "environment.json").symlink_to("/dev/zero")
    assert read_result_sets([tmp_path])[0].records == {}


@pytest.mark.parametrize(("name", "message"), [("absent", "is not there"), ("", "holds no result_<i>.txt files"),
                                               ("pipe", "is a pipe or a device")])
def test_nothing_to_read(tmp_path, name, message):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=message):
        read_result_sets([tmp_path / name])
