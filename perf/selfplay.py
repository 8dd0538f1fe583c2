"""Moves a second of self-play on 9x9: jax_mlperf against pgx's own AlphaZero example.

    python perf/selfplay.py [--readouts=16,64] [--games=N,...] [--sides=gumbel,puct,pgx] [--network=v05|example] [--moves=N]
                            [--rounds=N] [--precision=bf16|f32] [--pgx_precision=bf16|f32] [--json] [--config.KEY=VALUE]
    python perf/selfplay.py --whole [--games=2000] [--readouts=200] [--sides=puct] [--json]

Ours is the benchmark's own play (jax_mlperf/selfplay) with one of its two searches; nobody resigns. The peer
(perf/peers/pgx_selfplay.py) is pgx's stock go_9x9 with mctx's Gumbel search, in float32 as the example has it. Both play with
the same untrained network: minigo's of v0.5 (9 blocks of 32 filters), or one of the example's size (6 of 128), and the same
number of readouts. All sides run in this process in turn, round by round; figures are medians. Moves of games that have ended
do not count. The example's rules include superko and end at move 162: --config.game.superko=True --config.game.max_moves=162
gives ours the same. Sizes that do not fit the memory are left out.

--whole plays an iteration's games from start to end, resignation included, as the benchmark does: games a second.
"""

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
from benchmark_step import median, rounds_of
from ml_collections import ConfigDict
from peers import pgx_selfplay

from jax_mlperf.benchmarks.minigo_settings import agent_of, check, play_settings
from jax_mlperf.config import load_config, split_overrides
from jax_mlperf.selfplay.agent import Agent, Variables
from jax_mlperf.selfplay.games import Games, PlaySettings, new_games, play_move

OURS = ("gumbel", "puct")
PEER = "pgx"
NETWORKS = {"v05": [], "example": ["model.blocks=6", "model.filters=128", "model.value_width=128"]}
DTYPES = {"bf16": "bfloat16", "f32": "float32"}
PUBLISHED = 11.6  # games a second of a V100, 240 readouts: NVIDIA's v0.6 logs

Side = Callable[[], int]  # makes the moves of a round, waits, returns how many there were in all games


def config_of(arguments: argparse.Namespace, search: str, precision: str, readouts: int, games: int) -> ConfigDict:
    """The benchmark's config with what is measured."""
    overrides = ["division=open", f"compute_dtype={DTYPES[precision]}", f"selfplay.search={search}",
                 f"selfplay.readouts={readouts}", f"selfplay.games={games}", *NETWORKS[arguments.network]]
    overrides += [] if arguments.whole else ["selfplay.resign_threshold=-1.0"]
    config = load_config("minigo", overrides + arguments.overrides)
    check(config)
    return config


def make_play(agent: Agent, settings: PlaySettings, moves: int) -> Callable[..., tuple[Games, jax.Array, Any]]:
    """(variables, games, moves made so far, key) -> (games, moves that were made in them, what is learned from)."""

    def play(variables: Variables, games: Games, made: jax.Array, key: jax.Array) -> tuple[Games, jax.Array, Any]:
        def one(games: Games, index: jax.Array) -> tuple[Games, tuple[jax.Array, Any]]:
            playing = jnp.sum(~games.ended)
            games, recorded = play_move(agent, settings, variables, games, made + index, jax.random.fold_in(key, index))
            return games, (playing, recorded)

        games, (playing, recorded) = jax.lax.scan(one, games, jnp.arange(moves, dtype=jnp.int32))
        return games, jnp.sum(playing), recorded

    return play


class OurGames:
    """Our self-play: `moves` of every game in a call of `play`."""

    def __init__(self, config: ConfigDict, moves: int):
        self.agent, self.settings, self.moves = agent_of(config), play_settings(config), moves
        key = jax.random.key(0)
        self.variables = Variables(*jax.jit(self.agent.network.init)(key))
        self._new = jax.jit(functools.partial(new_games, self.agent.rules, self.settings, config.selfplay.games))
        self._play = jax.jit(make_play(self.agent, self.settings, moves), donate_argnums=1)
        self.restart()

    def restart(self) -> None:
        """New games."""
        self.games, self.made = self._new(jax.random.key(self.agent.rules.points)), 0

    def play(self) -> int:
        """The next moves, of new games where there are too few left; how many were made."""
        if self.made + self.moves > self.agent.rules.max_moves:
            self.restart()
        self.games, played, _ = self._play(self.variables, self.games, jnp.int32(self.made), jax.random.key(self.made))
        self.made += self.moves
        return int(played)


def peer_side(config: ConfigDict, readouts: int, games: int, moves: int) -> Side:
    """pgx's example with our network."""
    network = agent_of(config).network

    def forward(variables: Variables, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        return network.bound(variables.params, variables.statistics)(observation, train=False)

    key = jax.random.key(0)
    variables = Variables(*jax.jit(network.init)(key))
    state = jax.jit(functools.partial(pgx_selfplay.start, games))(key)
    play = jax.jit(pgx_selfplay.make_play(forward, readouts, moves), donate_argnums=1)
    holder, count = [state], [0]

    def run() -> int:
        holder[0], learned = play(variables, holder[0], jax.random.key(count[0]))
        count[0] += 1
        return learned.ended.block_until_ready().size

    return run


def make_side(name: str, arguments: argparse.Namespace, readouts: int, games: int) -> Side:
    """One of ours or the peer; the first call compiles it."""
    if name == PEER:
        config = config_of(arguments, "gumbel", arguments.pgx_precision, readouts, games)
        return peer_side(config, readouts, games, arguments.moves)
    return OurGames(config_of(arguments, name, arguments.precision, readouts, games), arguments.moves).play


def fits(action: Callable[[], Any]) -> Any:
    """What the action returns; None where the device's memory is too small for it."""
    try:
        return action()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None


def measure_size(arguments: argparse.Namespace, readouts: int, games: int) -> list[dict[str, Any]]:
    """The figures of one number of readouts and of games."""
    sides: dict[str, Side] = {}
    for name in arguments.sides:
        start = time.perf_counter()
        side = fits(functools.partial(make_side, name, arguments, readouts, games))
        if side is None or fits(side) is None:
            print(f"{name}, {readouts} readouts, {games} games: do not fit", file=sys.stderr)
            continue
        print(f"{name}, {readouts} readouts, {games} games: warm after {time.perf_counter() - start:.0f} s", file=sys.stderr)
        sides[name] = side
    counts: dict[str, list[int]] = {name: [] for name in sides}
    calls = {name: functools.partial(_play_and_count, side, counts[name]) for name, side in sides.items()}
    rows: list[dict[str, Any]] = []
    for name, times in rounds_of(calls, arguments.rounds).items():
        seconds, played = median(times), statistics.median(counts[name])
        rows.append({"side": name, "readouts": readouts, "games": games, "moves_per_sec": played / seconds.wall,
                     "moves_per_processor_sec": played / seconds.processor})
    for key in ("moves_per_sec", "moves_per_processor_sec"):
        peer = next((row[key] for row in rows if row["side"] == PEER), None)
        for row in rows:
            row["of_pgx_" + key] = peer and row[key] / peer
    return rows


def _play_and_count(side: Side, counts: list[int]) -> None:
    counts.append(side())


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All sizes."""
    rows = [row for readouts in arguments.readouts for games in arguments.games
            for row in measure_size(arguments, readouts, games)]
    return {**facts_of(arguments), "pgx_precision": arguments.pgx_precision, "moves": arguments.moves,
            "rounds": arguments.rounds, "results": rows}


def measure_whole(arguments: argparse.Namespace) -> dict[str, Any]:
    """All games of an iteration, once for every search, number of readouts and of games."""
    rows = []
    for search in (name for name in arguments.sides if name != PEER):
        for readouts, games in ((readouts, games) for readouts in arguments.readouts for games in arguments.games):
            ours = OurGames(config_of(arguments, search, arguments.precision, readouts, games), 1)
            ours.play()
            ours.restart()
            start, played = time.perf_counter(), 0
            while ours.made < ours.agent.rules.max_moves and not bool(ours.games.ended.all()):
                played += ours.play()
            seconds = time.perf_counter() - start
            rows.append({"side": search, "readouts": readouts, "games": games, "seconds": seconds,
                         "games_per_sec": games / seconds, "moves_per_game": played / games, "moves_per_sec": played / seconds})
    return {**facts_of(arguments), "results": rows}


def facts_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where and with what it was measured."""
    return {"network": arguments.network, "precision": arguments.precision, "device": jax.devices()[0].device_kind,
            "cores": os.cpu_count(), "load": os.getloadavg()[0]}


def report(facts: dict[str, Any]) -> str:
    """The table."""
    lines = [f"network {facts['network']}, {facts['precision']} (pgx {facts['pgx_precision']}), {facts['device']}, "
             f"{facts['cores']} cores, load {facts['load']:.1f}; medians of {facts['rounds']} rounds of {facts['moves']} moves",
             f"{'readouts':>8}{'games':>8}  {'':8}{'moves/s':>12}{'of pgx':>9}{'by processor time':>19}"]
    for row in facts["results"]:
        ratios = [f"{row[key]:.2f}" if row[key] else "-" for key in ("of_pgx_moves_per_sec", "of_pgx_moves_per_processor_sec")]
        lines.append(f"{row['readouts']:8,}{row['games']:8,}  {row['side']:8}{row['moves_per_sec']:12,.1f}{ratios[0]:>9}"
                     f"{ratios[1]:>19}")
    return "\n".join(lines)


def report_whole(facts: dict[str, Any]) -> str:
    """The table of whole games."""
    lines = [f"network {facts['network']}, {facts['precision']}, {facts['device']}, {facts['cores']} cores, load "
             f"{facts['load']:.1f}; published: {PUBLISHED} games/s of a V100 at 240 readouts",
             f"{'readouts':>8}{'games':>8}  {'':8}{'seconds':>10}{'games/s':>10}{'moves a game':>14}{'moves/s':>12}"]
    lines += [f"{row['readouts']:8,}{row['games']:8,}  {row['side']:8}{row['seconds']:10.1f}{row['games_per_sec']:10.2f}"
              f"{row['moves_per_game']:14.1f}{row['moves_per_sec']:12,.1f}" for row in facts["results"]]
    return "\n".join(lines)


def numbers(text: str) -> list[int]:
    """Of a list with commas."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readouts", type=numbers, help="default: 16,64; 200 for --whole")
    parser.add_argument("--games", type=numbers, help="default: 512,2048,8192 on a GPU, else 64; 2000 (16) for --whole")
    parser.add_argument("--sides", type=functools.partial(str.split, sep=","), help=f"of {', '.join((*OURS, PEER))}")
    parser.add_argument("--network", choices=tuple(NETWORKS), default="v05")
    parser.add_argument("--moves", type=int, default=16 if has_gpu else 2, help="of every game in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=tuple(DTYPES), default="bf16" if has_gpu else "f32")
    parser.add_argument("--pgx_precision", choices=tuple(DTYPES), default="f32")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--json", action="store_true")
    overrides, rest = split_overrides(sys.argv[1:])
    arguments = parser.parse_args(rest)
    arguments.overrides = overrides
    arguments.readouts = arguments.readouts or ([200] if arguments.whole else [16, 64])
    sizes = ([2000] if has_gpu else [16]) if arguments.whole else ([512, 2048, 8192] if has_gpu else [64])
    arguments.games = arguments.games or sizes
    arguments.sides = arguments.sides or (["puct"] if arguments.whole else [*OURS, PEER])
    facts = (measure_whole if arguments.whole else measure)(arguments)
    print(json.dumps(facts, indent=2) if arguments.json else (report_whole if arguments.whole else report)(facts))


if __name__ == "__main__":
    main()
