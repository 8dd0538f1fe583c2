"""Whose a work folder is, and which of its runs are done."""

import dataclasses
import json

import pytest
from toy_benchmark import toy_config

from jax_mlperf.config import differences, fingerprint
from jax_mlperf.errors import UserError
from jax_mlperf.workdir import RunResult, Workdir


def claim(path, config, *, resume=True, write=True):
    Workdir(path).claim(config, resume=resume, write=write)


def test_a_claim_records_the_config_and_may_be_repeated(tmp_path):
    folder = tmp_path / "deep" / "w"
    claim(folder, toy_config())
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded == {"fingerprint": fingerprint(toy_config()), "config": toy_config().to_dict()}
    before = (folder / "config.json").stat().st_mtime_ns
    claim(folder, toy_config())
    assert (folder / "config.json").stat().st_mtime_ns == before
    assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_other_processes_write_nothing_but_check_the_owner(tmp_path):
    with pytest.raises(UserError, match="has no config.json here: all processes must see the same --workdir"):
        claim(tmp_path / "w", toy_config(), write=False)
    assert not (tmp_path / "w").exists()
    claim(tmp_path / "w", toy_config())
    with pytest.raises(UserError, match="belongs to another config"):
        claim(tmp_path / "w", toy_config(seed=8), write=False)


def test_only_some_sections_may_be_asked_for(tmp_path):
    claim(tmp_path / "w", toy_config())
    Workdir(tmp_path / "w").check_owner(toy_config(seed=8), sections=("mesh", "hidden"))
    with pytest.raises(UserError, match=r"another config: hidden \(64 there, 32 now\); choose"):
        Workdir(tmp_path / "w").check_owner(toy_config(seed=8, hidden=32), sections=("mesh", "hidden"))


def test_values_that_decide_how_long_may_change(tmp_path):
    claim(tmp_path / "w", toy_config())
    claim(tmp_path / "w", toy_config(runs=5, max_epochs=99.0, time_budget_minutes=3.0, checkpoint_every_steps=7,
                                     checkpoints_kept=9, log_every_steps=1, plain_log_seconds=1.0,
                                     submission={"org": "us", "platform": "ours", "status": "onprem"}))


def test_values_that_decide_what_is_trained_may_not_and_all_are_named(tmp_path):
    claim(tmp_path / "w", toy_config())
    changed = toy_config(learning_rate=0.2, runs=3, mesh={"data": -1, "fsdp": 2})
    with pytest.raises(UserError) as caught:
        claim(tmp_path / "w", changed)
    assert str(caught.value) == (
        f"workdir {tmp_path / 'w'} belongs to another config: learning_rate (0.1 there, 0.2 now), "
        "mesh.fsdp (1 there, 2 now); choose another --workdir")


def test_differences_see_lost_and_new_keys_and_not_the_kind_of_sequence():
    old = {"a": 1, "gone": 2, "s": {"x": (1, 2), "y": 3.0}, "runs": 1}
    new = {"a": 1, "added": None, "s": {"x": [1, 2], "y": 3}, "runs": 2}
    assert differences(old, new) == ["gone (2 there, None now)", "s.y (3.0 there, 3 now)"]
    assert differences({"s": {"runs": 1}}, {"s": {"runs": 2}}) == ["s.runs (1 there, 2 now)"]


def test_fresh_wants_an_unused_folder(tmp_path):
    claim(tmp_path / "w", toy_config(), resume=False)
    with pytest.raises(UserError, match=r"already holds runs; choose another --workdir, or leave out --fresh"):
        claim(tmp_path / "w", toy_config(), resume=False)


@pytest.mark.parametrize("text", ["", "[]", "null"])
def test_a_damaged_summary_is_one_clear_line(tmp_path, text):
    Workdir(tmp_path).run_folder(0).mkdir(parents=True)
    (tmp_path / "run_0" / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary.json is damaged; choose another --workdir"):
        Workdir(tmp_path).finished(0)


@pytest.mark.parametrize("text", ["", '{"fingerprint": "ab', "[]", "null"])
def test_a_damaged_record_is_one_clear_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json is damaged; choose another --workdir or delete that folder"):
        claim(tmp_path, toy_config())
    assert (tmp_path / "config.json").read_text() == text


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "w", "Not a directory")):
        with pytest.raises(UserError) as caught:
            claim(path, toy_config())
        assert str(caught.value) == f"workdir {path} cannot be written: {reason}; choose another --workdir"


def test_a_finished_run_is_read_back_as_it_was(tmp_path):
    folder = Workdir(tmp_path / "w")
    result = RunResult(reached=True, complete=True, as_asked=True, step=30, epoch=2.5, minutes=1.25,
                       quality={"bleu": 25.5}, seed=7, reason="the target was reached", phase_seconds={"train": 60.5})
    assert folder.finished(1) is None
    (tmp_path / "w").mkdir()
    folder.log_file(1).write_text("abc")
    sealed = folder.finish(1, result)
    assert sealed.log_sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, of "abc"
    assert folder.finished(1) == sealed == dataclasses.replace(result, log_sha256=sealed.log_sha256) and folder.finished(0) is None
    assert [path.name for path in folder.run_folder(1).iterdir()] == ["summary.json"]
    assert (folder.run_folder(1).name, folder.log_file(1).name) == ("run_1", "result_1.txt")


def test_a_second_machine_is_written_behind_the_first(tmp_path):
    folder = Workdir(tmp_path)
    for machine in ({"cpu": "A", "os": "X"}, {"cpu": "B", "os": "X"}, {"cpu": "A", "os": "X"}, {"cpu": "C", "gpu": "H"}):
        folder.record_environment(machine)
    assert json.loads((tmp_path / "environment.json").read_text()) == {"cpu": "A; later B; later C", "os": "X", "gpu": "H"}
