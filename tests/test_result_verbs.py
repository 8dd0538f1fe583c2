"""The verbs for finished runs, as the command line calls them."""

import csv
import io
import json

import pytest
from generated_logs import write_result_set, write_run

from jax_mlperf.cli import main
from jax_mlperf.errors import NOT_PASSED, OK, USER_ERROR
from jax_mlperf.result_verbs import show_results


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """ResNet-50 at 12 minutes, BERT at 24.5: the worked example of the LP2BM score."""
    folder = tmp_path_factory.mktemp("results")
    write_result_set(folder / "resnet", "resnet", [10, 11, 12, 13, 20], [37, 38, 38, 38, 39])
    write_result_set(folder / "bert", "bert", [20, 21, 22, 23, 24, 25, 26, 27, 28, 40], [2_500_000] * 10)
    return folder


def test_score_in_words_json_and_csv(results, capsys):
    assert main(["score", str(results)]) == OK
    assert "0.97 = 7.19 / 12.00" in capsys.readouterr().out
    assert main(["score", str(results), "--json"]) == OK
    content = json.loads(capsys.readouterr().out)
    assert content["lp2bm"][0]["score"] == pytest.approx(0.968554, abs=1e-6)
    assert main(["score", str(results / "resnet"), "--csv"]) == OK
    row, = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["benchmark"], float(row["olympic_minutes"])) == ("resnet", 12)


def test_check_passes_and_fails(results, tmp_path, capsys):
    assert main(["check", str(results / "resnet")]) == OK
    assert "5 of 5 files keep the rules" in capsys.readouterr().out
    path = write_run(tmp_path / "result_0.txt", "resnet", quality=0.7581)
    assert main(["check", str(path)]) == NOT_PASSED
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("FAIL ") and second.strip().startswith("eval_accuracy: no evaluation reached 0.759")


def test_report_is_one_file(results, tmp_path, capsys):
    assert main(["report", str(results), f"--out={tmp_path / 'new' / 'report.html'}"]) == OK
    assert "</html>" in (tmp_path / "new" / "report.html").read_text()
    (tmp_path / "file").write_text("")
    assert main(["report", str(results), f"--out={tmp_path / 'file' / 'report.html'}"]) == USER_ERROR
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_overwrites_nothing_but_a_report(tmp_path, capsys, monkeypatch):
    log = write_run(tmp_path / "result_0.txt", "resnet")
    content = log.read_bytes()
    assert main(["report", str(log), f"--out={log}"]) == USER_ERROR
    assert "is there already and is no HTML page" in capsys.readouterr().err and log.read_bytes() == content
    page = tmp_path / "report.html"
    assert [main(["report", str(log), f"--out={page}"]) for _ in range(2)] == [OK, OK]
    before = page.read_bytes()

    def fill_the_disk(path, text, **_):
        path.write_bytes(text.encode()[:1000])
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("pathlib.Path.write_text", fill_the_disk)
    assert main(["report", str(log), f"--out={page}"]) == USER_ERROR
    assert "No space left" in capsys.readouterr().err and page.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "result_0.txt"]


def test_names_that_a_terminal_would_obey(tmp_path, capsys):
    write_result_set(tmp_path / "runs\x1b[2J", "resnet", [10, 11], [37, 37])
    for arguments in (["score"], ["check"], ["report", f"--out={tmp_path}/\x1b[2J.html"], ["submit", "--org=a", "--system=b"]):
        main([*arguments, str(tmp_path / "runs\x1b[2J")])
        printed = "".join(capsys.readouterr())
        assert "?[2J" in printed and "\x1b" not in printed, arguments


def test_a_folder_above_a_submission_is_checked_as_one(tmp_path, capsys):
    write_run(tmp_path / "MyLab" / "results" / "system" / "resnet" / "result_0.txt", "resnet")
    (tmp_path / "MyLab" / "systems").mkdir()
    assert main(["check", str(tmp_path)]) == USER_ERROR
    assert "MyLab tells no ruleset" in capsys.readouterr().err


def test_a_study_without_its_logs_is_shown_too(results, tmp_path, capsys):
    entry = {"workers": 1, "devices": 1, "reached": True, "epochs": 3, "steps": 30, "minutes": 1.0, "train_seconds": 50.0,
             "all_reduce_seconds": 0.0, "compute_seconds": 50.0, "input_wait_seconds": 1.0, "evaluate_seconds": 5.0,
             "checkpoint_seconds": 1.0, "all_reduce_bytes": 10, "speedup": 1.0, "speedup_without_all_reduce": 1.0,
             "quality": {"accuracy": 81.0}, "workdir": "elsewhere"}
    (tmp_path / "scaling.json").write_text(json.dumps([entry, entry | {"workers": 2, "train_seconds": 30.0, "speedup": 1.667}]))
    out = f"--out={tmp_path / 'report.html'}"
    assert main(["report", str(tmp_path), str(results / "resnet"), out]) == OK
    assert "1.67" in (tmp_path / "report.html").read_text()
    assert main(["report", str(tmp_path), str(tmp_path / "absent"), out]) == USER_ERROR
    assert "absent is not there" in capsys.readouterr().err


def test_what_run_py_ends_with(results, tmp_path, capsys):
    write_result_set(tmp_path, "resnet", [10, 11, 12], [37, 38, 38])
    write_run(tmp_path / "other" / "result_0.txt", "bert")
    show_results(tmp_path)
    printed = capsys.readouterr().out
    assert "11.00" in printed and "2 more runs are needed" in printed and "bert" not in printed
    assert "</html>" in (tmp_path / "report.html").read_text()
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    show_results(tmp_path)
    assert "no report: " in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["score", "absent"], "absent is not there"), (["check", "absent"], "absent is not there"), (["report", "absent"], "absent is not there"),
    (["submit", "absent", "--org=a", "--system=b"], "absent is not there"), (["score"], "the following arguments are required: PATH"),
    (["score", "absent", "--json", "--csv"], "not allowed with")])
def test_mistakes_are_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == USER_ERROR
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_submission_without_names_is_refused(results, capsys):
    assert main(["submit", str(results)]) == USER_ERROR
    assert "needs --org and --system" in capsys.readouterr().err


def test_a_wrong_ruleset_is_refused(results, capsys):
    assert main(["check", str(results / "resnet"), "--ruleset=9.9.9"]) == USER_ERROR
    assert "9.9.9" in capsys.readouterr().err
