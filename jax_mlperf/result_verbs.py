"""The verbs of `python -m jax_mlperf` that work on finished runs: score, check, report, submit. None of them needs jax."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jax_mlperf.errors import NOT_PASSED, OK, UserError, printable
from jax_mlperf.mlperf.reading.result_set import read_result_sets, result_files
from jax_mlperf.whole_file import write_whole

Add = Callable[..., argparse.ArgumentParser]


def add_result_verbs(add: Add) -> None:
    """Adds the verbs to the parser; `add` takes name, function and text of one."""
    score = add("score", _score, "olympic means, convergence, throughput and the LP2BM score of folders of result files")
    _add_paths(score)
    form = score.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--csv", action="store_true")

    check = add("check", _check, "hold result files, folders of them, or a submission against MLPerf's rules")
    _add_paths(check)
    check.add_argument("--ruleset", help="of the official checker, as 4.0.0 (default: the newest that knows the benchmark)")

    report = add("report", _report, "one HTML file with plots and tables of folders of runs and of scaling studies")
    _add_paths(report)
    report.add_argument("--out", type=Path, default=Path("report.html"), help="the file to write (default: report.html)")

    submit = add("submit", _submit, "pack runs into the folder that MLCommons takes, and have its own checkers look at it")
    _add_paths(submit)
    submit.add_argument("--org", default="", help="who submits")
    submit.add_argument("--system", default="", help="name of the system, the same in all folders")
    submit.add_argument("--out", type=Path, default=Path("submission"), help="where <org>/ is made (default: submission)")
    submit.add_argument("--ruleset", default="", help="of the checkers (default: the newest that knows all benchmarks)")
    submit.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a field of the system description")
    submit.add_argument("--system_file", type=Path, help="JSON file with fields of the system description")
    submit.add_argument("--template", type=Path, metavar="FILE", help="only write such a file, with what is known filled in")
    submit.add_argument("--draft", action="store_true", help="pack also what is incomplete or does not pass")


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="work folders, folders of result files, or files")


def _score(flags: argparse.Namespace, _: Sequence[str]) -> int:
    from jax_mlperf.mlperf.scoring.score import score
    from jax_mlperf.mlperf.scoring.score_table import as_csv, as_json, as_text
    scores = [score(result_set) for result_set in read_result_sets(flags.paths)]
    print((as_json if flags.json else as_csv if flags.csv else as_text)(scores).rstrip("\n"))
    return OK


def _check(flags: argparse.Namespace, _: Sequence[str]) -> int:
    from jax_mlperf.mlperf.checking.check import as_text, check_file, passed
    from jax_mlperf.mlperf.checking.check_set import check_set, set_warnings
    from jax_mlperf.mlperf.submission.verification import as_text as verification_text
    from jax_mlperf.mlperf.submission.verification import verify
    good = True
    submissions = [folder for path in flags.paths for folder in (path, *sorted(path.glob("*"))) if _is_submission(folder)]
    for folder in submissions:
        findings = verify(folder, flags.ruleset or "")
        print(verification_text(folder, findings))
        good = good and not findings.errors
    others = [path for path in flags.paths if path not in submissions]
    for result_set in read_result_sets(others) if others else ():
        verdicts = [check_file(run.path, flags.ruleset) for run in result_set.runs]
        across = check_set(result_set, verdicts[0].ruleset)
        print(as_text(verdicts, across, set_warnings(result_set)))
        good = good and passed(verdicts, across)
    return OK if good else NOT_PASSED


def _is_submission(path: Path) -> bool:
    return (path / "systems").is_dir() and (path / "results").is_dir()


def _report(flags: argparse.Namespace, _: Sequence[str]) -> int:
    write_report(flags.paths, flags.out)
    print(printable(str(flags.out)))
    return OK


def _submit(flags: argparse.Namespace, _: Sequence[str]) -> int:
    from jax_mlperf.mlperf.submission.submission import as_text, submit
    from jax_mlperf.mlperf.submission.submission_input import check_sets, package_ruleset
    from jax_mlperf.mlperf.submission.system_description import parse_settings, write_template
    sets, given = read_result_sets(flags.paths), parse_settings(flags.set, flags.system_file)
    if flags.template:
        check_sets(sets)
        package_ruleset(sets, flags.ruleset)
        missing = write_template(flags.template, sets, given)
        print(printable(f"{flags.template}: fill in {missing} fields, then give it with --system_file={flags.template}"))
        return OK
    if not flags.org or not flags.system:
        raise UserError("submit needs --org and --system, for example --org=MyLab --system=4xH200")
    done = submit(sets, flags.out, given, org=flags.org, system=flags.system, ruleset=flags.ruleset, draft=flags.draft)
    print(as_text(done))
    return NOT_PASSED if done.findings.errors else OK


def write_report(paths: Sequence[Path], out: Path) -> None:
    """Writes the HTML report of everything below the paths.

    A page that is there already is replaced by a whole new one; any other file is left alone, it may be one of the logs.

    Raises:
      UserError: there is nothing to report, or the file cannot be written.
    """
    from jax_mlperf.report.page import html
    from jax_mlperf.report.scaling import read_scaling, scaling_files
    studies = read_scaling(paths)
    # a scaling study may be shown without the logs that it was made of
    sets = read_result_sets([path for path in paths if any(result_files(path)) or not any(scaling_files(path))])
    page = html(sets, studies)
    try:
        if not _may_be_replaced(out):
            raise UserError(f"--out={out} is there already and is no HTML page; choose another name")
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not out.is_file():  # standard output, say
            out.write_text(page, encoding="utf-8")
        else:
            write_whole(out.resolve(), page)
    except OSError as error:
        raise UserError(f"--out={out} cannot be written: {error.strerror}") from error


def _may_be_replaced(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        return file.read(15).upper() == b"<!DOCTYPE HTML>"


def show_results(workdir: Path) -> None:
    """What run.py ends with: the score of its runs, where there are several, and report.html beside the logs."""
    from jax_mlperf.mlperf.scoring.score import score
    from jax_mlperf.mlperf.scoring.score_table import as_text
    logs = sorted(workdir.glob("result_*.txt"))
    if len(logs) > 1:
        print(as_text([score(result_set) for result_set in read_result_sets(logs)]))
    show_report(logs, workdir / "report.html")


def show_report(paths: Sequence[Path], out: Path) -> None:
    """The report of runs that are made: one that cannot be written is a line on standard error, their exit status stands."""
    try:
        write_report(paths, out)
        print(printable(f"report: {out}"))
    except UserError as error:
        print(f"no report: {error}", file=sys.stderr)
