"""The table, JSON and CSV of scores."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from logged_runs import logged_run, logged_set

from jax_mlperf.mlperf.reading.result_set import ResultSet, read_result_sets
from jax_mlperf.mlperf.scoring.score import Score, score
from jax_mlperf.mlperf.scoring.score_table import WIDTH, as_csv, as_json, as_text

RESNET = score(logged_set([10, 11, 12, 13, 20], epoch=35, name="h200/resnet"))
BERT = score(logged_set([20.5, None, *range(21, 29)], "bert", epoch=2_600_000, name="h200/bert"))
SINGLE = score(logged_set([0.25], "maskrcnn", epoch=14.5, name="laptop/maskrcnn", submission_division="open"))


def test_text_of_three_sets() -> None:
    assert as_text([RESNET, BERT, SINGLE]).splitlines() == [
        "set              benchmark  division    runs  converged  minutes of each run      olympic  scaled  to converge  samples/s  RCP",
        "                                                                                     mean    mean                          test",
        "---------------  ---------  --------  ------  ---------  -----------------------  -------  ------  -----------  ---------  -------",
        "h200/resnet      resnet     closed         5          5  10.00 11.00 12.00 13.00    12.00   12.05    35 epochs     62,279  passed",
        "                                                         20.00                                                             x1.0044",
        "h200/bert        bert       closed        10          9  20.50 - 21.00 22.00        24.50       -    2,600,000      1,806  passed",
        "                                                         23.00 24.00 25.00 26.00                       samples",
        "                                                         27.00 28.00",
        "laptop/maskrcnn  maskrcnn   open      1 of 5          1  0.250                          -       -  14.5 epochs    113,357  -",
        "",
        "h200/resnet",
        "  - RCP test passed, but the score is multiplied by 1.0044 for being faster than the reference: 35 epochs; the reference takes",
        "    35.154, and 34.31 is the least that passes.",
        "",
        "h200/bert",
        "  - result_1.txt: counts as not converged: its status is aborted, although an evaluation reached the target.",
        "  - RCP test passed: 2,600,000 samples; the reference takes 2,414,421, and 2,274,732 is the least that passes.",
        "",
        "laptop/maskrcnn",
        "  - Provisional: 4 more runs are needed. The rule asks for 5, and an olympic mean takes 3 at least.",
        "",
        "LP2BM 0.97 = 7.19 / 12.00 minutes of h200/resnet + 9.05 / 24.50 minutes of h200/bert; higher is better; without "
        "RCP scaling"]


def test_folders_of_the_same_name_are_told_apart() -> None:
    lines = as_text([score(logged_set([10, 11, 12, 13, 20], name=f"{top}/h200/resnet")) for top in ("may", "june")]).splitlines()
    assert [line.split()[0] for line in lines[3:5]] == ["may/h200/resnet", "june/h200/resnet"]


def test_provisional_means_are_marked() -> None:
    lines = as_text([score(logged_set([10, 11, 12, 13], submission_division="open")), BERT]).splitlines()
    assert "  11.50*  " in lines[2 + lines[1].startswith(" ")]
    assert "* provisional" in lines and "* provisional" not in as_text([SINGLE]), "words for a mark that is there"
    assert "* provisional" in lines
    assert "* provisional" not in as_text([RESNET, BERT]).splitlines()
    assert any(line.startswith("LP2BM 0.99 (provisional) = 7.19 / 11.50 minutes") for line in lines)


def test_many_runs_and_long_names_stay_within_the_width() -> None:
    runs = [logged_run(number, "ncf", minutes=100 + number / 7, submission_division="o" * 30, submission_platform="x" * 300)
            for number in range(100)]
    wide = score(ResultSet(Path("an-organization-with-a-long-name-1x8xH200-SXM-141GB/a-benchmark-with-a-long-name"), runs))
    text = as_text([wide, RESNET, BERT, SINGLE, score(logged_set([0.4] * 10, "transformer", epoch=4.5))])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert all(f"{100 + number / 7:.2f}" in text for number in range(100))


def test_control_characters_of_a_log_do_not_reach_the_terminal() -> None:
    odd = logged_set([1.0] * 5, name="a\x1b[31mb/c\ud800", submission_division="open\nclosed")
    text = as_text([score(odd)]) + as_csv([score(odd)])
    assert "a?[31mb/c?" in text
    assert "\x1b" not in text
    text.encode()


@pytest.mark.parametrize("extreme", [{"epoch": 1e308}, {"train_samples": 1e308}, {"minutes": 1e300}, {"minutes": 0.0},
                                     {"global_batch_size": -1}, {"epoch": -5}, {"epoch": None}])
def test_odd_numbers_of_a_log_do_not_end_in_a_traceback(extreme: dict[str, Any]) -> None:
    for benchmark in ("resnet", "bert", "transformer"):
        result = score(ResultSet(Path("a/b"), [logged_run(number, benchmark, **extreme) for number in range(10)]))
        assert as_text([result, RESNET, BERT])
        json.loads(as_json([result, RESNET]), parse_constant=_no_constant)
        assert as_csv([result])


def _no_constant(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def test_json_holds_everything() -> None:
    record = json.loads(as_json([RESNET, BERT, SINGLE]), parse_constant=_no_constant)
    resnet, bert, single = record["scores"]
    assert set(resnet) == set(Score.__dataclass_fields__)
    assert (resnet["folder"], resnet["minutes"], resnet["olympic_minutes"]) == ("results/h200/resnet", [10, 11, 12, 13, 20], 12.0)
    assert resnet["rcp"]["scaling"] == pytest.approx(457 / 13 / 35)
    assert (bert["minutes"][1], bert["counted"][-1], bert["targets"]) == (None, "result_9.txt", {"": 0.72})
    assert (single["olympic_minutes"], single["rcp"], single["missing_runs"], single["provisional"]) == (None, None, 4, True)
    assert record["lp2bm"] == [{"score": pytest.approx(0.968554, abs=5e-7), "resnet": "results/h200/resnet",
                                "bert": "results/h200/bert", "provisional": False}]
    assert record["lp2bm_notes"] == []


def test_json_without_an_lp2bm_score_tells_why() -> None:
    record = json.loads(as_json([RESNET, RESNET, BERT]))
    assert record["lp2bm"] == []
    assert "give one folder of each" in record["lp2bm_notes"][0]


def test_json_has_null_for_what_is_no_number() -> None:
    odd = dataclasses.replace(SINGLE, targets={"": float("nan")}, samples_per_second=float("inf"))
    (record,) = json.loads(as_json([odd]), parse_constant=_no_constant)["scores"]
    assert (record["targets"], record["samples_per_second"]) == ({"": None}, None)


def test_csv_has_a_row_for_each_set() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([RESNET, BERT, SINGLE]))))
    assert [row["set"] for row in rows] == ["h200/resnet", "h200/bert", "laptop/maskrcnn"]
    assert rows[1]["minutes"].split()[:3] == ["20.500000", "-", "21.000000"]
    assert (rows[0]["olympic_minutes"], rows[0]["rcp_passed"], rows[2]["rcp_passed"], rows[2]["olympic_minutes"]) == ("12.0", "True", "", "")
    assert float(rows[0]["scaled_minutes"]) == pytest.approx(12 * 457 / 13 / 35)
    assert rows[2]["notes"].startswith("Provisional: 4 more runs are needed.")


def test_published_results_make_the_lp2bm_line(shared_data: Path) -> None:
    logs = shared_data / "mlperf_logs"
    text = as_text([score(entry) for entry in read_result_sets([logs / "v4.0", logs / "v5.0"])])
    assert " ".join(text.splitlines()[-2:]) == ("LP2BM 2.42 = 7.19 / 12.03 minutes of nvidia-8xH200/resnet + 9.05 / 4.96 minutes of "
                                     "dell-8xH200/bert; higher is better; without RCP scaling")
