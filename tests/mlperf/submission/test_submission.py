"""Packing runs for MLCommons: the official checkers pass the folder, and mistakes are refused before anything is written."""

import json
import logging
import subprocess
import warnings

import pytest
from generated_logs import write_result_set, write_run
from mlperf_logging.package_checker.package_checker import check_training_package

from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import read_result_sets
from jax_mlperf.mlperf.submission.submission import as_text, submit
from jax_mlperf.mlperf.submission.submission_files import sha256
from jax_mlperf.mlperf.submission.submission_input import package_ruleset
from jax_mlperf.mlperf.submission.system_description import FIELDS
from jax_mlperf.mlperf.submission.verification import as_text as verified_text
from jax_mlperf.mlperf.submission.verification import verify
from jax_mlperf.workdir import Workdir

GIVEN = {name: text for name, text in FIELDS.items() if name not in ("submitter", "division", "status", "system_name")}
_TIMES = (30, 31, 32, 33, 34)


def resnet(folder, minutes=_TIMES, epoch=36.0, **settings):
    write_result_set(folder, "resnet", minutes, [epoch] * len(minutes), **settings)
    return read_result_sets([folder])


def pack(sets, out, **settings):
    return submit(sets, out, GIVEN, **{"org": "university", "system": "2xH200", **settings})


def refusal(sets, out, **settings):
    with pytest.raises(UserError) as caught:
        pack(sets, out, **settings)
    assert not (out / "university").exists() and not list(out.glob(".packing*"))
    return str(caught.value)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A submission with seven resnet runs of a work folder, faster than the reference points; file 8 was the third."""
    folder = tmp_path_factory.mktemp("packed")
    resnet(folder / "work", range(30, 37), epoch=35.0, seeds=range(7))
    (folder / "work/result_2.txt").rename(folder / "work/result_8.txt")
    config = load_config("resnet50:batch=4096", ["submission.org=university", "data.raw_dir=/home/somebody/imagenet"])
    Workdir(folder / "work").claim(config, resume=False, write=True)
    return pack(read_result_sets([folder / "work"]), folder / "out")


@pytest.mark.slow
def test_a_package_of_resnet_and_bert_passes_the_official_checkers(tmp_path, caplog):
    write_result_set(tmp_path / "runs/resnet", "resnet", _TIMES, [36, 36, 37, 37, 38])
    write_result_set(tmp_path / "runs/bert", "bert", range(40, 50), [2350000] * 10)
    submission = pack(read_result_sets([tmp_path / "runs"]), tmp_path / "out")
    folder = tmp_path / "out" / "university"
    assert (submission.folder, submission.written, submission.findings.errors) == (folder, True, ())
    assert "passes MLPerf's checkers at rules 4.0.0" in as_text(submission)
    # reference points at batch 448 have the mean 2414421.33 (rules.md 8): 10 runs that average 2350000
    assert dict(submission.findings.scaling) == {"2xH200/bert": pytest.approx(1.0274133)}
    scaling = (folder / "results/2xH200/bert/scaling.json").read_text()
    (folder / "results/2xH200/bert/scaling.json").unlink()
    caplog.set_level(logging.INFO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_training_package(str(folder), "training", "4.0.0", False, False, False, False, False, "")
    assert "PACKAGE CHECKER FOUND NO ERRORS, SUCCESS !" in caplog.text
    assert (folder / "results/2xH200/bert/scaling.json").read_text() == scaling
    assert not (folder / "results/2xH200/resnet/scaling.json").exists()
    assert verify(folder).errors == ()


def test_the_folder_has_the_layout_of_the_rules_and_what_repeats_the_runs(packed):
    assert packed.written and packed.findings.errors == ()
    home = packed.folder / "benchmarks/resnet/2xH200"
    assert {path.name for path in home.iterdir()} == {"2xH200_jax_mlperf.json", "README.md", "setup.sh", "init_datasets.sh", "run_and_time.sh"}
    assert {path.name for path in packed.folder.iterdir()} == {"systems", "benchmarks", "results"}
    description = json.loads((packed.folder / "systems/2xH200.json").read_text())
    assert (description["submitter"], description["system_name"]) == ("university", "2xH200")
    code = home.parent / "implementations/jax_mlperf"
    assert all((code / name).is_file() for name in ("run.py", "pyproject.toml", "uv.lock", "configs/resnet50.py", "scripts/environment.sh",
                                                    "jax_mlperf/trainer.py", "LICENSE", "README.md"))
    script = (home / "run_and_time.sh").read_text()
    assert "--config=resnet50:batch=4096" in script and "--config.runs=5" in script and "somebody" not in script
    for name in ("setup.sh", "init_datasets.sh", "run_and_time.sh"):
        assert (home / name).stat().st_mode & 0o111
        subprocess.run(["bash", "-n", home / name], check=True)


def test_more_runs_than_the_rule_give_the_median_window_in_launch_order(packed):
    # windows of 5 by launch time: (30, ..., 34), (31, ..., 35), (32, ..., 36): olympic means 32, 33, 34
    seeds = [json.loads(line[len(":::MLLOG "):])["value"] for index in range(5)
             for line in (packed.folder / f"results/2xH200/resnet/result_{index}.txt").read_text().splitlines() if '"seed"' in line]
    assert seeds == [1, 2, 3, 4, 5]
    record = json.loads((packed.folder / "benchmarks/resnet/2xH200/2xH200_jax_mlperf.json").read_text())
    assert record["runs_made"] == 7 and any("of 7 runs" in note for note in packed.notes)
    assert record["result_sha256"] == {f"result_{index}.txt": sha256(packed.folder / f"results/2xH200/resnet/result_{index}.txt")
                                       for index in range(5)}
    assert "These are the window of 5" in (packed.folder / "benchmarks/resnet/2xH200/README.md").read_text()


def test_verifying_changes_neither_the_folder_nor_the_logging_of_the_program(packed):
    def state():
        files = [path for path in packed.folder.rglob("*") if path.is_file() and "implementations" not in path.parts]
        root = logging.getLogger()
        return {path: path.read_bytes() for path in files}, root.handlers[:], root.level, logging.root.manager.disable

    before = state()
    findings = verify(packed.folder)
    assert findings.errors == () and "as it was packed" in verified_text(packed.folder, findings)
    assert state() == before


def test_scaling_is_that_of_the_reference_points(packed):
    # batch 4096 is judged between the points 3264 and 32768 that are kept: mean 35.742 (rules.md 8)
    factor = json.loads((packed.folder / "results/2xH200/resnet/scaling.json").read_text())["scaling_factor"]
    assert factor == pytest.approx(35.742 / 35.0, rel=1e-4)


def test_missing_runs_are_refused_and_a_draft_says_so(tmp_path):
    sets = resnet(tmp_path / "work", (30, 31, 32))
    assert "has 3 of the 5 runs of resnet that the rules ask for: 2 missing" in refusal(sets, tmp_path / "out")
    draft = pack(sets, tmp_path / "out", draft=True)
    assert draft.written and "it is a draft" in as_text(draft) and "found 3, expected 5" in as_text(draft)
    assert len(list((draft.folder / "results/2xH200/resnet").iterdir())) == 3


@pytest.mark.slow
def test_one_run_may_miss_the_target_but_not_two(tmp_path):
    statuses = ["success", "aborted", "success", "success", "success"]
    one = pack(resnet(tmp_path / "one", statuses=statuses), tmp_path / "out1")
    assert one.written and any("1 file does not comply, accepting" in text for text in one.findings.warnings)
    sets = resnet(tmp_path / "two", statuses=[*statuses[:-1], "aborted"])
    two = pack(sets, tmp_path / "out2")
    assert not two.written and not (tmp_path / "out2").exists()
    assert any("2 files do not comply" in text for text in two.findings.errors) and "nothing was written" in as_text(two)


@pytest.mark.slow
def test_runs_too_fast_for_the_reference_points_do_not_pass(tmp_path):
    fast = pack(resnet(tmp_path / "work", epoch=34.0), tmp_path / "out")  # the least is 34.867 (rules.md 8)
    assert not fast.written and any("RCP Test Failed" in text for text in fast.findings.errors)
    assert any("34.867 is the least that passes" in note for note in fast.notes)


def test_evidence_of_the_work_folder_is_looked_at(tmp_path):
    sets = resnet(tmp_path / "work", seeds=[1, 2, 3, 3, 5])
    assert "seed 3" in refusal(sets, tmp_path / "out")
    sets = resnet(tmp_path / "sealed")
    for index in range(5):
        folder = tmp_path / f"sealed/run_{index}"
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps({"log_sha256": sha256(tmp_path / f"sealed/result_{index}.txt")}))
    file = tmp_path / "sealed/result_2.txt"
    file.write_text(file.read_text().replace("0.7591", "0.7592"))
    assert "result_2.txt is not as its run left it" in refusal(read_result_sets([tmp_path / "sealed"]), tmp_path / "out")


def test_a_log_that_cannot_be_read_is_not_packed(tmp_path):
    resnet(tmp_path / "work")
    (tmp_path / "work/result_3.txt").unlink()
    (tmp_path / "work/result_3.txt").symlink_to("/dev/zero")
    message = refusal(read_result_sets([tmp_path / "work"]), tmp_path / "out", draft=True)
    assert message.endswith("work: result_3.txt cannot be read: it is a pipe or a device, not a file")


def test_logs_without_a_benchmark_or_with_a_hostile_one(tmp_path):
    file = write_run(tmp_path / "result_0.txt", "resnet")
    text = file.read_text()
    file.write_text(text.replace("submission_benchmark", "other"))
    assert "its logs name no benchmark" in refusal(read_result_sets([file]), tmp_path / "out")
    file.write_text(text.replace('"resnet"', '"resnet\\u001b[2J"'))
    message = refusal(read_result_sets([file]), tmp_path / "out")
    assert "resnet?[2J" in message and message.isprintable()


def test_a_folder_in_the_way_is_left_as_it_is(tmp_path):
    sets = resnet(tmp_path / "work")
    (tmp_path / "out/university").mkdir(parents=True)
    (tmp_path / "out/university/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="exists and is not empty"):
        pack(sets, tmp_path / "out")
    assert (tmp_path / "out/university/thesis.txt").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        pack(sets, tmp_path / "file")


def test_nothing_is_left_of_a_package_that_fails_half_way(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("jax_mlperf.mlperf.submission.submission.write_files", fail)
    assert "cannot be written: No space left on device" in refusal(resnet(tmp_path / "work"), tmp_path / "new/out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("flag", "name", "fit"), [
    ("org", "my university", "my_university"), ("system", "dgx/h200", "dgx_h200"), ("org", ".hidden", "hidden"), ("org", "..", "name"),
    ("system", "", "name"), ("system", "Zürich", "Z_rich")])
def test_names_that_are_no_folders_are_refused_with_one_that_is(tmp_path, flag, name, fit):
    with pytest.raises(UserError, match=f"--{flag}={name!r} becomes a folder's name.*for example --{flag}={fit}$"):
        pack([], tmp_path, **{flag: name})


def test_sets_that_are_no_submission_are_refused(tmp_path):
    sets = resnet(tmp_path / "a/work")
    assert "is in" in refusal([*sets, *resnet(tmp_path / "b/work")], tmp_path / "out")
    write_run(tmp_path / "mixed/result_0.txt", "resnet")
    file = write_run(tmp_path / "mixed/result_1.txt", "bert")
    for name in ("bert", "sentiment"):
        file.write_text(file.read_text().replace('"value": "bert"', f'"value": "{name}"'))
        assert "the benchmark is not the same in all files" in refusal(read_result_sets([tmp_path / "mixed"]), tmp_path / "out")


def test_the_ruleset_is_the_newest_that_has_all_benchmarks(tmp_path):
    names = ("resnet", "bert", "maskrcnn", "transformer")
    sets = {name: read_result_sets([write_run(tmp_path / name / "result_0.txt", name)])[0] for name in names}

    def chosen(*benchmarks, wanted=""):
        return package_ruleset([sets[name] for name in benchmarks], wanted)

    # rules.md 4: resnet to 4.0.0, bert to 5.0.0, maskrcnn has a file to 3.1.0, transformer at 0.7.0 only
    assert [chosen(*benchmarks) for benchmarks in (("resnet",), ("bert",), ("resnet", "bert"), ("bert", "maskrcnn"), names)] == [
        "4.0.0", "5.0.0", "4.0.0", "3.1.0", "0.7.0"]
    assert chosen("resnet", "bert", wanted="2.1.0") == "2.1.0"
    for wanted, known in (("4.1.0", "those that do: 0.7.0, 1.0.0, 1.1.0, 2.0.0, 2.1.0, 3.0.0, 3.1.0, 4.0.0"), ("9", "do not have all of resnet")):
        with pytest.raises(UserError, match=known):
            chosen("resnet", "bert", wanted=wanted)


def test_logs_of_other_rounds_and_benchmarks(tmp_path):
    file = write_run(tmp_path / "result_0.txt", "resnet")
    text = file.read_text()
    # every log of 1.0.0 and later has that line
    file.write_text("".join(line for line in text.splitlines(keepends=True) if "gradient_accumulation_steps" not in line))
    assert package_ruleset(read_result_sets([file]), "") == "0.7.0"
    # a run that was killed before it does not make the others old
    (tmp_path / "result_1.txt").write_text(text)
    assert package_ruleset(read_result_sets([tmp_path]), "") == "4.0.0"
    file.write_text(text.replace('"value": "resnet"', '"value": "llama2_70b_lora"'))
    assert package_ruleset(read_result_sets([file]), "") == "6.1.0"
    file.write_text(text.replace('"value": "resnet"', '"value": "sentiment"'))
    with pytest.raises(UserError, match="none of the rules that MLPerf's checkers know has the benchmark sentiment"):
        package_ruleset(read_result_sets([file]), "")


def test_minigo_of_the_first_round_is_refused_before_the_checkers_see_it(tmp_path):
    file = write_run(tmp_path / "result_0.txt", "minigo")
    assert package_ruleset(read_result_sets([file]), "") == "2.1.0"
    line = json.loads(file.read_text().splitlines()[0].removeprefix(":::MLLOG "))
    target = {**line, "key": "quality_target", "value": {"targets": {"": 0.4}, "higher_is_better": True, "strict": False}}
    file.write_text(f":::MLLOG {json.dumps(target)}\n{file.read_text()}")
    for wanted in ("", "2.1.0"):
        with pytest.raises(UserError, match="its target is minigo's of v0.5, .* so it cannot be submitted; leave it out"):
            package_ruleset(read_result_sets([file]), wanted)
