"""A finished submission that was changed: every change is found, and the official checkers find what they can."""

import json
import re
import shutil

import pytest
from generated_logs import write_result_set

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import read_result_sets
from jax_mlperf.mlperf.submission.official_checks import official_findings
from jax_mlperf.mlperf.submission.submission import submit
from jax_mlperf.mlperf.submission.system_description import FIELDS
from jax_mlperf.mlperf.submission.verification import verify

_GIVEN = {name: text for name, text in FIELDS.items() if name not in ("submitter", "division", "status", "system_name")}
_RESULTS, _HOME = "results/2xH200/resnet", "benchmarks/resnet/2xH200"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A submission of resnet at 35 epochs, which the reference points scale."""
    folder = tmp_path_factory.mktemp("original")
    write_result_set(folder / "work", "resnet", (30, 31, 32, 33, 34), [35.0] * 5)
    packed = submit(read_result_sets([folder / "work"]), folder / "out", _GIVEN, org="university", system="2xH200")
    shutil.rmtree(packed.folder / "benchmarks/resnet/implementations/jax_mlperf")  # most of the files, and not looked at here
    return packed.folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "university")


def edit(folder, pattern, replacement, file="result_2.txt"):
    path = folder / _RESULTS / file
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1
    path.write_text(text)


def later(match):
    return f'"time_ms": {int(match[1]) - 600_000}{match[2]}'


def copy(folder, seed=None):
    text = (folder / _RESULTS / "result_1.txt").read_text()
    text = text if seed is None else text.replace('"key": "seed", "value": 1001', f'"key": "seed", "value": {seed}')
    (folder / _RESULTS / "result_2.txt").write_text(text)


def rename(folder, *places):
    for place in places:
        path = folder / place
        path.rename(path.with_name(path.name.replace("2xH200", "4xH200")))


def change_json(folder, name, **changes):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


_CHANGED = "result_2.txt was changed after it was packed"
# what is done -> (how, what verify says, what the official checkers alone say: an error, a warning, or "" where they see nothing)
_TAMPERINGS = {
    "a required line is deleted": (lambda f: edit(f, r'.*"run_stop".*\n', ""), _CHANGED, "Required EXACTLY_ONE occurrence of 'run_stop'"),
    "another line is deleted": (lambda f: edit(f, r'.*"eval_accuracy".*"epoch_num": 17.*\n', ""), _CHANGED, ""),
    "a hyperparameter breaks its rule": (lambda f: edit(f, r'("lars_epsilon", "value": )0.0', r"\g<1>0.1"), _CHANGED, "lars_epsilon"),
    "a free hyperparameter": (lambda f: edit(f, r'("lars_opt_base_learning_rate", "value": )9.5', r"\g<1>9.6"), _CHANGED, ""),
    "accuracy above 1": (lambda f: edit(f, r'"value": 0.7591', '"value": 1.7591'), _CHANGED, "Failed checks for eval_accuracy"),
    "accuracy a little better": (lambda f: edit(f, r'"value": 0.7591', '"value": 0.7593'), _CHANGED, ""),
    "the time of run_stop": (lambda f: edit(f, r'"time_ms": (\d+)(.*"run_stop")', later), _CHANGED, ""),
    "another run's file": (copy, "has seed 1001 as in result_1.txt", "already logs the same seed on the same line"),
    "another run's file with another seed": (lambda f: copy(f, 7), "result_2.txt looks like a copy of result_1.txt", ""),
    "a result is missing": (lambda f: (f / _RESULTS / "result_2.txt").unlink(), f"{_RESULTS}/result_2.txt is missing", "found 4, expected 5"),
    "a result is added": (lambda f: shutil.copy(f / _RESULTS / "result_1.txt", f / _RESULTS / "result_5.txt"),
                          "result_5.txt was not there when it was packed", "found 6, expected 5"),
    "all results are missing": (lambda f: [file.unlink() for file in (f / _RESULTS).iterdir()], "there are no result files", "found 0, expected 5"),
    "the batch size of one run": (lambda f: edit(f, r'("global_batch_size", "value": )4096', r"\g<1>8192"), "the global batch size is not the same",
                                  "Batch sizes in files do not match"),
    "the system in one place": (lambda f: rename(f, "results/2xH200"), "system 4xH200 is not in systems and not in benchmarks", "FileNotFoundError"),
    "the system in all places": (lambda f: rename(f, f"{_HOME}/2xH200_jax_mlperf.json", _HOME, "results/2xH200", "systems/2xH200.json"),
                                 "4xH200_jax_mlperf.json: its system is '2xH200', the folder's is '4xH200'", ""),
    "a file with a space in its name": (lambda f: (f / _HOME / "my notes.txt").write_text(""), "my notes.txt", "Files with git-unfriendly name"),
    "two runs do not converge": (lambda f: [edit(f, '"status": "success"', '"status": "aborted"', f"result_{i}.txt") for i in (1, 2)],
                                 _CHANGED, "Insufficient convergence"),
    "no scaling": (lambda f: (f / _RESULTS / "scaling.json").unlink(), "scaling.json has the factor None", ""),
    "less scaling": (lambda f: change_json(f, f"{_RESULTS}/scaling.json", scaling_factor=1.001), "scaling.json has the factor 1.001", ""),
    "the division of the system": (lambda f: change_json(f, "systems/2xH200.json", division="open"), "the system's division is open, the logs' closed",
                                   ""),
    "the name in the description": (lambda f: change_json(f, "systems/2xH200.json", system_name="x"), "its system_name is 'x', not the name", ""),
    "a value that is no text": (lambda f: change_json(f, "systems/2xH200.json", framework=1), "TypeError", "TypeError"),
    "a status of our own": (lambda f: change_json(f, "systems/2xH200.json", status="onprem"), "Field status contains", "Field status contains"),
    "no description": (lambda f: (f / "systems/2xH200.json").unlink(), "system 2xH200 is not in systems", "FileNotFoundError"),
    "a damaged description": (lambda f: (f / "systems/2xH200.json").write_text("{"), "JSONDecodeError", "JSONDecodeError"),
    "no script": (lambda f: (f / _HOME / "setup.sh").unlink(), f"{_HOME}/setup.sh is missing", ""),
    "no sums": (lambda f: change_json(f, f"{_HOME}/2xH200_jax_mlperf.json", result_sha256=None), "keeps no sha256", ""),
    "a benchmark that the rules do not have": (lambda f: (f / "results/2xH200/extra").mkdir(), "Skipping benchmark: extra", "Skipping benchmark: extra"),
}
_QUICK = ("another run's file with another seed",)


@pytest.mark.parametrize("change", [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in _TAMPERINGS])
def test_every_change_is_found(folder, change, monkeypatch):
    seen = []
    monkeypatch.setattr("jax_mlperf.mlperf.submission.verification.official_findings", lambda *given: seen.append(official_findings(*given)) or seen[-1])
    tamper, ours, official = _TAMPERINGS[change]
    tamper(folder)
    found = verify(folder)
    assert any(ours in error for error in found.errors), found.errors
    theirs, = seen
    if official:
        assert any(official in text for text in (*theirs.errors, *theirs.warnings)), theirs
    else:
        assert theirs.errors == ()


def test_what_is_no_submission_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="has no folder results"):
        verify(tmp_path / "absent")
    with pytest.raises(UserError, match="no benchmark in it is in rules 6.1.0"):
        verify(folder, "6.1.0")
    (folder / _HOME / "2xH200_jax_mlperf.json").unlink()
    with pytest.raises(UserError, match="tells no ruleset: name it with --ruleset"):
        verify(folder)
