"""The page as a whole: well-formed, self-contained, the same for the same logs, and complete."""

import dataclasses
import html.parser
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from generated_logs import write_result_set, write_run

from jax_mlperf.mlperf.reading.result_set import ResultSet, read_result_sets
from jax_mlperf.report.page import html as page
from jax_mlperf.report.scaling import Scaling, read_scaling
from jax_mlperf.report.sections.shown import show

VOID = {"meta"}


class Balance(html.parser.HTMLParser):
    """Checks that tags close in their order, and gathers text and ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script" and not any(name.startswith("on") for name, _ in attrs), (tag, attrs)
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values[name] or "" for name in ("href", "src", "xlink:href") if name in values]
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(text: str) -> Balance:
    balance = Balance()
    balance.feed(text)
    balance.close()
    assert balance.open == []
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        ET.fromstring(svg)
    assert len(balance.ids) == len(set(balance.ids))
    assert all(link.startswith("#") and link[1:] in balance.ids for link in balance.links)
    return balance


def make(*paths: Path) -> str:
    return page(read_result_sets(paths), read_scaling(paths))


def test_the_page_is_whole_and_asks_nothing_of_the_network(results: Path, study: Path) -> None:
    text = make(results)
    words = " ".join(parsed(text).words)
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import|http", text)
    for heading in ("Quality against time", "Time to target", "Throughput over time", "Where the time goes", "Environment and configuration",
                    "Speedup", "Compute and communication to target", "Share of communication", "Price index", "Phases"):
        assert heading in words
    assert "\u202e" not in text and "<b onclick" not in text
    assert text == make(results)


def test_every_chart_has_words_and_its_numbers(results: Path, study: Path) -> None:
    text = make(results)
    figures = re.findall(r"<figure>.*?</figure>", text, re.S)
    # ResNet 4, BERT 4, Mask R-CNN 5 with its two metrics, the study 6.
    assert len(figures) == 19
    for figure in figures:
        assert len(re.findall(r'<svg viewBox="[^"]*" class="chart (?:wide|narrow)" role="img" aria-label="[^"]+"><title>', figure)) == 2
        assert "<details><summary>Data as a table</summary><div" in figure and "<td" in figure


def test_scores_and_ratio_are_those_of_the_rule(results: Path) -> None:
    words = parsed(make(results / "first", results / "second" / "resnet")).words
    # first: two runs missed, no score; second: [10, 11, 12, 13, 20] has the olympic mean 12.
    assert "12.00" in words and "no score" in words
    sets = [results / "second" / "resnet", write_result_set(results / "third" / "resnet", "resnet", [24, 24, 24, 24, 24], [41] * 5)]
    assert re.search(r'>24\.00</bdi></td><td class="n"><bdi>0\.5</bdi>', make(*sets))


def test_what_differs_stands_apart_from_what_is_the_same(results: Path) -> None:
    text = make(results / "first", results / "second" / "resnet")
    assert re.search(r'<tr><th scope="row"><bdi>optimizer\.<wbr/>rate</bdi></th><td><bdi>9.5</bdi></td><td><bdi>7.4</bdi></td></tr>', text)
    shown, folded = text.split("1 value is the same in all folders")
    assert "<bdi>same<" in folded and "<bdi>same<" not in shown
    assert "Hyperparameters in the logs" not in text


def test_a_study_has_its_runs_to_itself(study: Path) -> None:
    words = parsed(make(study)).words
    assert "Scaling: " + "/".join(study.parts[-2:]) in words
    assert "Where the time goes" not in words and "Quality against time" in words


@pytest.mark.parametrize("missing", ["Quality against time", "Time to target, run by run", "Throughput over time", "Where the time goes",
                                     "Accuracy after time", "Notes on the logs", "Scaling"])
def test_sections_without_data_are_absent(tmp_path: Path, missing: str) -> None:
    [result_set] = read_result_sets([write_result_set(tmp_path, "resnet", [30, 31, 32, 33, 34], [41] * 5)])
    runs = list(result_set.runs)
    if missing == "Quality against time":
        runs = [dataclasses.replace(run, evaluations=[], status="aborted") for run in runs]
    elif missing == "Time to target, run by run":
        runs = runs[:1]
    elif missing == "Throughput over time":
        runs = [dataclasses.replace(run, facts={"submission_benchmark": "cifar10"}) for run in runs]
    elif missing == "Where the time goes":
        runs = [dataclasses.replace(run, init_start_ms=None, run_start_ms=None) for run in runs]
    text = page([ResultSet(result_set.folder, runs)])
    parsed(text)
    assert missing not in text and "<h1" in text


def test_quality_at_the_end_of_a_time_budget(tmp_path: Path) -> None:
    for run, quality in enumerate((0.70, 0.72)):
        write_run(tmp_path / f"result_{run}.txt", "transformer", minutes=120, quality=quality, division="open")
    (tmp_path / "config.json").write_text('{"config": {"time_budget_minutes": 120.0}}')
    words = parsed(make(tmp_path)).words
    assert "Accuracy after time: BLEU / 100 at the end of the budget" in words
    assert "0.71000" in words and "BLEU / 100 after 120 minutes, mean of 2 runs" in words
    assert "Time to target, run by run" not in words


def test_the_odd_ones_are_told_in_words(odd: Path) -> None:
    text = make(odd)
    words = " ".join(parsed(text).words)
    assert "is not whole JSON" in words and "has no :::MLLOG lines" in words and "no score" in words
    assert "N" * 300 not in text and len(text) < 500_000
    polylines = re.findall(r'<polyline points="([^"]+)"', text)
    assert max(len(points.split()) for points in polylines) <= 400
    assert "0.90000" in words  # the peak of 10,000 evaluations survives thinning


def test_numbers_at_the_ends_of_their_range_are_drawn_or_left_out(tmp_path: Path) -> None:
    for run, (quality, minutes) in enumerate(((5e-324, 0.0), (1e300, 1e-9), (-1e12, 1e9), (0.7, 30.0))):
        path = write_run(tmp_path / f"result_{run}.txt", "resnet", minutes=minutes, quality=quality)
        path.write_text(path.read_text().replace('"init_start", "value": null', '"phase_seconds", "value": {"train": 0, "evaluate": 1e300}'))
    (tmp_path / "scaling.json").write_text('[{"workers": 1, "train_seconds": 1, "compute_seconds": 5e-324}, {"workers": 2, "train_seconds": 1e-300}]')
    parsed(make(tmp_path))


def test_settings_may_be_nested_deeper_than_any_config(tmp_path: Path) -> None:
    write_run(tmp_path / "result_0.txt", "resnet")
    (tmp_path / "config.json").write_text('{"config": ' + '{"a": ' * 500 + "1" + "}" * 501)
    assert ".<wbr/>".join("a" * 9) + "</bdi>" in make(tmp_path)


def test_a_page_of_nothing() -> None:
    parsed(page([]))
    text = page([], [Scaling(Path("/x/y"), (), ("scaling.json cannot be read",))])
    assert "scaling.json cannot be read" in " ".join(parsed(text).words)


def test_many_runs(tmp_path: Path) -> None:
    write_result_set(tmp_path, "resnet", [30 + run / 10 for run in range(40)], [41] * 40)
    text = make(tmp_path)
    parsed(text)
    assert "fastest, middle, slowest of 40" in text and "40 of 40 runs converged" in text


def test_the_score_after_rcp_scaling_stands_beside_the_olympic_mean(tmp_path: Path) -> None:
    # 457 / 13: mean of the 13 reference runs that count at batch size 3264; the runs took 35 epochs.
    scaled = write_result_set(tmp_path / "a" / "resnet", "resnet", [10, 11, 12, 13, 20], [35] * 5, global_batch_size=3264)
    text = make(scaled)
    assert f"{12 * 457 / 13 / 35:.2f} (×\u00a01.0044)" in text and "With RCP scaling" in text
    assert "RCP test passed, but the score is multiplied by 1.0044" in text
    plain = make(write_result_set(tmp_path / "b" / "resnet", "resnet", [10, 11, 12, 13, 20], [41] * 5, global_batch_size=3264))
    assert "With RCP scaling" not in plain and "RCP test passed" not in plain
    unofficial = make(write_result_set(tmp_path / "c" / "x", "transformer", [5.0] * 10, [4.4] * 10))
    assert "With RCP scaling" not in unofficial and "<bdi>(passed)</bdi>" in unofficial


def test_runs_that_miss_the_target_are_marked_in_a_study(study: Path) -> None:
    text = make(study)
    # 16 workers are the fastest, 5.00, and missed the target.
    assert "marked with *: 16." in text and "Largest: 2.50 with 4 workers." in text and ">16*<" in text and ">4*<" not in text


def test_dropped_runs_are_hollow(results: Path) -> None:
    [shown] = show(read_result_sets([results / "second" / "resnet"]))
    assert shown.fates() == ["dropped", "counted", "counted", "counted", "dropped"]
    [failed] = show(read_result_sets([write_result_set(results / "x", "resnet", [10, 12, 11, 13, 50], [41] * 5,
                                                       statuses=["success"] * 4 + ["aborted"])]))
    # The run that missed the target is the slowest one; of the others only the fastest is left out.
    assert failed.fates() == ["dropped", "counted", "counted", "counted", "failed"]


def test_published_logs(shared_data: Path) -> None:
    logs = shared_data / "mlperf_logs"
    text = make(logs / "v2.0", logs / "v4.0")
    words = parsed(text).words
    for expected in ("43.71", "12.03", "Quality against time: box mAP (BBOX)", "Quality against time: mask mAP (SEGM)"):
        assert expected in words
