"""The rating files: the three published forms against a plain parser, and every kind of malformed line."""

import numpy as np
import pytest

from jax_mlperf.data import movielens_files
from jax_mlperf.data.movielens_files import FORMS, parse_block, read
from jax_mlperf.errors import UserError

HEADER = "userId,movieId,rating,timestamp"


def rows(count, seed=0):
    """Users and items of 1 to 10 digits, timestamps of 1 to 16."""
    rng = np.random.default_rng(seed)
    digits = rng.integers(1, 11, (2, count))
    users, items = np.minimum(rng.random((2, count)) * 10.0**digits, 2**31 - 1).astype(int)
    seconds = (rng.random(count) * 10.0 ** rng.integers(1, 17, count)).astype(int)
    return list(zip(users.tolist(), items.tolist(), (rng.integers(1, 11, count) / 2).tolist(), seconds.tolist(), strict=True))


def text(form, lines, newline="\n"):
    header = [FORMS[form].header.decode()] if FORMS[form].header else []
    return newline.join([*header, *(FORMS[form].separator.decode().join(map(str, line)) for line in lines), ""])


def written(tmp_path, form, content):
    path = tmp_path / FORMS[form].name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("ending", ["\n", "", "\n\n", "\r\n", "\r\n\r\n"])
def test_every_form_and_ending(tmp_path, form, ending, monkeypatch):
    monkeypatch.setattr(movielens_files, "BLOCK_BYTES", 100)  # many blocks, few lines each
    expected = rows(200)
    newline = "\r\n" if "\r" in ending else "\n"
    content = text(form, expected, newline).removesuffix(newline) + ending
    for workers in (1, 3):
        events = read(written(tmp_path, form, content), FORMS[form], workers)
        assert list(zip(*map(np.ndarray.tolist, events), strict=True)) == [(user, item, second) for user, item, _, second in expected]
        assert [column.dtype for column in events] == [np.int32, np.int32, np.int64]


def test_published_lines_need_no_slow_parser(monkeypatch):
    """One line of each published file, from the READMEs' forms."""
    for form, line in (("ml-20m", b"138493,131262,3.5,1427784002\r\n"), ("ml-1m", b"6040::3952::5::956703932\n"),
                       ("ml-100k", b"196\t242\t3\t881250949\n")):
        events = parse_block(line * 3, FORMS[form].separator)
        expected = line.decode().replace("::", ",").replace("\t", ",").split(",")
        assert [column.tolist() for column in events] == [[int(expected[k])] * 3 for k in (0, 1, 3)]


def test_other_numbers_are_ratings_too(tmp_path):
    """They take the slow parser."""
    ratings = ("4.25", "10", "0.123456", "-1", "5.", "1e0")
    lines = [(user, 7, rating, 5) for user, rating in enumerate(ratings)]
    assert parse_block(text("ml-100k", lines).encode(), b"\t") is None
    events = read(written(tmp_path, "ml-100k", text("ml-100k", lines)), FORMS["ml-100k"])
    assert events.users.tolist() == list(range(len(ratings))) and events.timestamps.tolist() == [5] * len(ratings)


@pytest.mark.parametrize(("line", "problem"), [
    ("1,2,3.0", "3 fields separated by ',', must be 4"),
    ("1,2,3.0,4,5", "5 fields separated by ',', must be 4"),
    ("1\t2\t3\t4", "1 fields separated by ','"),
    ("", "the line is blank"),
    ("x,2,3.0,4", "userId is 'x', must be a whole number"),
    ("1,2.0,3.0,4", "movieId is '2.0', must be a whole number"),
    ("1, 2,3.0,4", "movieId is ' 2', must be a whole number"),
    ("1,,3.0,4", "movieId is '', must be a whole number"),
    ("1,2,good,4", "rating is 'good', must be a number"),
    ("1,2,3.0.0,4", "rating is '3.0.0', must be a number"),
    ("1,2,3,0,4", "5 fields"),
    ("1,2,nan,4", "rating is 'nan', must be a number"),
    ("1,2,1e999,4", "rating is '1e999', must be a number"),
    ("1,2,,4", "rating is '', must be a number"),
    ("1,2,3.0,", "timestamp is '', must be a whole number"),
    ("1,2,3.0,4x", "timestamp is '4x', must be a whole number"),
    ("-1,2,3.0,4", "userId is -1, must not be negative"),
    ("1,-2,3.0,4", "movieId is -2, must not be negative"),
    ("1,2,3.0,-4", "timestamp is -4, must not be negative"),
    ("2147483648,2,3.0,4", "userId is 2147483648, must be at most 2,147,483,647"),
    ("1,99999999999999999999,3.0,4", "movieId is 99999999999999999999, must be at most"),
    ('"1","2","3.0","4"', "quoted fields are not read"),
    ("1,2,3.0,4\rx", "timestamp is '4\\\\rx', must be a whole number"),
    ("1,2,3.0,\xff" + "0" * 200, r"'1,2,3\.0,ÿ0{70}0'\.\.\."),
])
def test_the_bad_line_is_named(tmp_path, monkeypatch, line, problem):
    monkeypatch.setattr(movielens_files, "BLOCK_BYTES", 64)
    good = "1,2,3.0,4\n"
    path = written(tmp_path, "ml-20m", f"{HEADER}\n{good * 40}{line}\n{good * 9}")
    with pytest.raises(UserError, match=rf"ratings\.csv, line 42: .*{problem}") as error:
        read(path, FORMS["ml-20m"], workers=2)
    assert "\n" not in str(error.value) and (not line or len(line) > 80 or repr(line) in str(error.value))


def test_a_separator_of_two_characters_is_two(tmp_path):
    for line in ("1:2::3::4", "1::2:3::4", "1:::2::3:4", "1::2::3::4::"):
        with pytest.raises(UserError, match=r"ratings\.dat, line 2: "):
            read(written(tmp_path, "ml-1m", f"1::2::3::4\n{line}\n"), FORMS["ml-1m"])


@pytest.mark.parametrize(("content", "problem"), [
    ("", "holds no ratings"),
    (f"{HEADER}\n\n", "holds no ratings"),
    ("1,2,3.0,4\n", f"line 1: the header is '1,2,3.0,4', must be '{HEADER}'"),
    ('"userId","movieId","rating","timestamp"\n', "line 1: .*without quotes"),
    (HEADER.encode("utf-16"), "line 1: the header is"),
])
def test_headers_and_empty_files(tmp_path, content, problem):
    with pytest.raises(UserError, match=rf"ratings\.csv.*{problem}"):
        read(written(tmp_path, "ml-20m", content), FORMS["ml-20m"])


def test_a_file_that_is_a_folder(tmp_path):
    with pytest.raises(UserError, match="cannot read .*directory"):
        read(tmp_path, FORMS["ml-100k"])
