"""Reading MLPerf lines out of whatever surrounds them."""

import random
import tracemalloc

import pytest

from jax_mlperf.mlperf.reading import log_lines as module
from jax_mlperf.mlperf.reading.log_lines import Damage, LogLine, log_lines, old_format

LINE = ':::MLLOG {"namespace": "", "time_ms": 1700000000123, "event_type": "POINT_IN_TIME", "key": "seed", "value": 7, "metadata": {"file": "run.py"}}'
READ = LogLine(1700000000123, "seed", 7, {"file": "run.py"})


def read(tmp_path, content):
    path = tmp_path / "result_0.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(log_lines(path))


@pytest.mark.parametrize("content", [
    LINE, LINE + "\n", f"noise\n{LINE}\nmore noise", f"0: {LINE}\n", f"step 3\rstep 4\r{LINE}\r\n", f"[1,0]<stdout>:{LINE}\n",
    LINE + " trailing words\n", LINE.replace(', "metadata"', ', "new_field": [1], "metadata"')])
def test_a_line_is_found_in_what_surrounds_it(tmp_path, content):
    assert read(tmp_path, content) == [READ]


def test_google_lines_without_event_type_and_null_metadata(tmp_path):
    assert read(tmp_path, ':::MLLOG {"namespace": "main", "time_ms": 5, "key": "cache_clear", "value": null, "metadata": null}') == [
        LogLine(5, "cache_clear", None, {})]


def test_lines_that_ranks_wrote_into_one_another(tmp_path):
    both = read(tmp_path, f"0: {LINE}1: {LINE}\n")
    assert both == [READ, READ]
    cut = read(tmp_path, f'0: :::MLLOG {{"namespace": "", "time_m1: {LINE}\n')
    assert isinstance(cut[0], Damage) and cut[1:] == [READ]


@pytest.mark.parametrize(("text", "reason"), [
    (":::MLLOG {broken", "is not whole JSON"), (":::MLLOG [1, 2]", "is not a JSON object"), (":::MLLOG " + "[" * 100_000, "is not whole JSON"),
    (":::MLLOG", None), (":::MLLOG ", "is not whole JSON"),
    (':::MLLOG {"key": "seed", "value": 1}', "has no time_ms that is a number"),
    (':::MLLOG {"time_ms": "1.2.3", "key": "seed"}', "has no time_ms that is a number"),
    (':::MLLOG {"time_ms": Infinity, "key": "seed"}', "has no time_ms that is a number"),
    (':::MLLOG {"time_ms": 1, "key": 5}', "has no key, or metadata that are no object"),
    (':::MLLOG {"time_ms": 1, "key": "seed", "metadata": [1]}', "has no key, or metadata that are no object"),
])
def test_damage_is_told_and_passed_over(tmp_path, text, reason):
    damage, *rest = [*read(tmp_path, f"{text}\n{LINE}\n"), None]
    if reason is None:
        assert (damage, rest) == (READ, [None])
    else:
        assert isinstance(damage, Damage) and damage.reason == reason and rest == [READ, None]


@pytest.mark.parametrize("chunk", [1, 7, 64, 200, 4096])
def test_chunks_change_nothing(tmp_path, monkeypatch, chunk):
    content = f"x{LINE}\n:::MLLO\n::::::MLLOG nonsense\n0: {LINE}1: {LINE}\r\nend {LINE}"
    whole = read(tmp_path, content)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    assert read(tmp_path, content) == whole and whole.count(READ) == 4


def test_any_bytes_at_all(tmp_path):
    rng = random.Random(0)
    original = (LINE + "\n").encode() * 20
    for _ in range(200):
        content = bytearray(original)
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        for line in read(tmp_path, bytes(content)):
            assert isinstance(line, (LogLine, Damage))


def test_a_huge_file_in_constant_memory(tmp_path):
    path = tmp_path / "result_0.txt"
    with path.open("wb") as file:  # a hundred megabytes without a line end, and as many of one unfinished line
        file.write(LINE.encode() + b"\n")
        file.seek(100_000_000, 1)
        file.write(b"\n" + LINE.encode() + b"\n:::MLLOG ")
        file.seek(100_000_000, 1)
        file.write(b"\n" + LINE.encode())
    tracemalloc.start()
    try:
        lines = list(log_lines(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines[:2] == [READ, READ] and lines[-1] == READ and len(lines) == 4
    assert peak < 16_000_000


def test_old_formats_are_recognised(tmp_path):
    path = tmp_path / "result_0.txt"
    for text, old in ((":::MLL 1556733699.510 run_stop: {}", True), (":::MLPv0.5.0 ncf 1541000000.0 (run.py:12) run_start", True), (LINE, False)):
        path.write_text(text)
        assert old_format(path) is old
