"""The verbs of `python -m jax_mlperf`: everything around a training run."""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jax_mlperf.config import load_config, split_overrides
from jax_mlperf.errors import OK, USER_ERROR, UserError
from jax_mlperf.launch import OneLineParser, add_config_flags, default_workdir
from jax_mlperf.mlperf.rules import preflight
from jax_mlperf.result_verbs import add_result_verbs, show_report

_INTERRUPTED = 130  # what shells report of a command that Ctrl-C ended
# Takes the flags and the overrides of the config; returns the exit status, None for 0.
Verb = Callable[[argparse.Namespace, list[str]], int | None]


def main(argv: Sequence[str]) -> int:
    """Executes one verb; returns the exit status: 0, 1 where results do not pass, 2 after one line that says what was wrong,
    130 after Ctrl-C.
    """
    status = None
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for as long as the program lives
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may have letters that the terminal's encoding lacks
        sys.stdout.reconfigure(errors="replace")
    try:
        overrides, rest = split_overrides(argv)
        flags = _parser().parse_args(rest)
        status = flags.verb(flags, overrides)
        sys.stdout.flush()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    except OSError as error:
        # of standard output, mostly: what is still in its buffer must not fail once more at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: {error}", file=sys.stderr)
            return USER_ERROR
    return status or OK


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="python -m jax_mlperf", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(name: str, verb: Verb, text: str) -> argparse.ArgumentParser:
        child = verbs.add_parser(name, help=text, description=text)
        child.set_defaults(verb=verb)
        return child

    describe = add("describe", _describe, "what a config will do before it does it")
    add_config_flags(describe)
    describe.add_argument("--devices", type=int, default=1, help="number of devices to plan for")
    describe.add_argument("--steps", type=_numbers, default=[1], metavar="N,N,...",
                          help="step counters (updates made before) whose learning rate to show")
    describe.add_argument("--json", action="store_true")

    plan = add("plan", _plan, "compile for machines that are not there: memory, collectives, predicted time")
    add_config_flags(plan)
    plan.add_argument("--target", default="h200", help="accelerator to compile for")
    plan.add_argument("--topology", default="1", metavar="N|HOSTSxN", help="devices, or hosts times devices of each")
    plan.add_argument("--json", action="store_true")

    data = add("data", _data, "download, verify or prepare the data of a config")
    data.add_argument("action", choices=("download", "verify", "prepare"))
    data.add_argument("benchmark", nargs="?", metavar="BENCHMARK[:VARIANT]", help="a name in configs/, or give --config")
    add_config_flags(data, required=False)
    data.add_argument("--mirror", help="address that serves the archives under their own names")
    data.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that prepare")

    study = add("study", _study, "train with 1, 2, 4, ... workers and write scaling.json: MLBench's scaling study")
    add_config_flags(study)
    study.add_argument("--workers", type=_numbers, default=[1, 2, 4, 8], metavar="N,N,...", help="numbers of workers")
    study.add_argument("--workdir", type=Path, help="where the runs and scaling.json go (default: results/<benchmark>-scaling)")

    translate = add("translate", _translate, "translate text with a trained checkpoint")
    _add_run_flags(translate)
    translate.add_argument("--input", default="-", metavar="FILE", help="one sentence a line (default: standard input)")

    convert = add("convert", _convert, "write the weights of BERT in another form: TF1 checkpoint, .safetensors")
    add_config_flags(convert)
    convert.add_argument("--from", dest="source", type=Path, required=True, metavar="WEIGHTS",
                         help="a TF1 checkpoint (without .index), *.safetensors, *.npz, or a work folder that was trained in")
    convert.add_argument("--to", dest="target", type=Path, required=True, metavar="WEIGHTS",
                         help="*.safetensors in PyTorch's naming, anything else is a TF1 checkpoint")

    gtp = add("gtp", _gtp, "play Go with a trained checkpoint: an engine that speaks GTP on standard input and output")
    _add_run_flags(gtp)
    gtp.add_argument("--readouts", type=int, metavar="N", help="simulations for each move (default: the config's; 0: none)")
    gtp.add_argument("--resign", type=float, metavar="X", help="resign when the value is below (default: the config's; -1: no)")

    games = add("games", _games, "write the newest games of self-play as SGF files")
    _add_run_flags(games)
    games.add_argument("--count", type=int, metavar="N", help="at most so many (default: all of the iteration)")
    games.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where game_0000.sgf, ... are written")
    add_result_verbs(add)
    return parser


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of verbs that use what was trained."""
    add_config_flags(parser)
    parser.add_argument("--workdir", type=Path, help="the work folder that was trained in")
    parser.add_argument("--run", type=int, default=0, help="which of its runs")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UserError(f"--steps and --workers take positive whole numbers with commas between them, not {text!r}")
    return numbers


def _describe(flags: argparse.Namespace, overrides: list[str]) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from jax_mlperf.describe import as_text, describe
    if flags.devices < 1:
        raise UserError(f"--devices is {flags.devices}, must be at least 1")
    facts = describe(load_config(flags.config, overrides), flags.data_dir, devices=flags.devices, steps=flags.steps)
    print(json.dumps(facts, indent=1) if flags.json else as_text(facts))


def _plan(flags: argparse.Namespace, overrides: list[str]) -> None:
    os.environ["JAX_PLATFORMS"] = "cpu"
    from jax_mlperf.plan.benchmark import plan_config
    config = load_config(flags.config, overrides)
    print(plan_config(config, flags.data_dir, target=flags.target, topology=flags.topology, as_json=flags.json))


def _data(flags: argparse.Namespace, overrides: list[str]) -> None:
    from jax_mlperf import benchmarks
    if bool(flags.benchmark) == bool(flags.config):
        raise UserError(f"data {flags.action} needs either a benchmark, as in: data {flags.action} transformer, or --config")
    if flags.workers < 1:
        raise UserError(f"--workers is {flags.workers}, must be at least 1")
    if flags.mirror is not None and "://" not in flags.mirror:
        raise UserError(f"--mirror={flags.mirror} is no address: give one that begins with https://")
    config = load_config(flags.benchmark or flags.config, overrides)
    benchmarks.data_command(flags.action, config, flags.data_dir, mirror=flags.mirror, workers=flags.workers)


def _study(flags: argparse.Namespace, overrides: list[str]) -> None:
    from jax_mlperf.study import as_text, scaling
    config = load_config(flags.config, overrides)
    preflight(config)
    workdir = flags.workdir or default_workdir(config).with_name(f"{default_workdir(config).name}-scaling")
    entries = scaling(config, flags.data_dir, workdir.absolute(), flags.workers)
    print(as_text(entries))
    if entries:
        show_report([workdir], workdir / "report.html")


def _translate(flags: argparse.Namespace, overrides: list[str]) -> None:
    from jax_mlperf.translate import translate_lines
    config = load_config(flags.config, overrides)
    workdir = flags.workdir or default_workdir(config)
    try:
        with (sys.stdin if flags.input == "-" else open(flags.input, encoding="utf-8", newline="\n")) as file:
            lines = file.read().removesuffix("\n").split("\n")
    except OSError as error:
        raise UserError(f"--input={flags.input} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--input={flags.input} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    for line in translate_lines(config, flags.data_dir, workdir, flags.run, lines):
        print(line)


def _convert(flags: argparse.Namespace, overrides: list[str]) -> None:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from jax_mlperf.convert import convert
    print(convert(load_config(flags.config, overrides), flags.data_dir, flags.source, flags.target))


def _gtp(flags: argparse.Namespace, overrides: list[str]) -> None:
    from jax_mlperf.play_go import serve_gtp
    config = load_config(flags.config, overrides)
    if isinstance(sys.stdin, io.TextIOWrapper):  # a byte that is no letter spoils its command, not the session
        sys.stdin.reconfigure(errors="replace")
    serve_gtp(config, flags.data_dir, flags.workdir or default_workdir(config), flags.run, flags.readouts, flags.resign,
              sys.stdin or (), sys.stdout)


def _games(flags: argparse.Namespace, overrides: list[str]) -> None:
    from jax_mlperf.play_go import write_games
    config = load_config(flags.config, overrides)
    workdir = flags.workdir or default_workdir(config)
    print(write_games(config, flags.data_dir, workdir, flags.run, flags.count, flags.out))
