"""Go with the newest checkpoint of a minigo run: its network as an engine, and the games of its iteration as SGF files."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jax_mlperf import gtp
from jax_mlperf.benchmarks.minigo import benchmark_on_one_device
from jax_mlperf.benchmarks.minigo_checkpoint import config_of, restored
from jax_mlperf.benchmarks.minigo_settings import MOST_READOUTS, agent_of, rules_of
from jax_mlperf.benchmarks.minigo_steps import variables_of
from jax_mlperf.config import config_reference
from jax_mlperf.errors import UserError, printable
from jax_mlperf.go import sgf
from jax_mlperf.go.area import area
from jax_mlperf.go.player import Choice
from jax_mlperf.go.rules import Position
from jax_mlperf.go.stones import BLACK, WHITE
from jax_mlperf.selfplay.agent import Agent, Variables
from jax_mlperf.selfplay.games import NO_ACTION, Games
from jax_mlperf.whole_file import write_whole
from jax_mlperf.workdir import Workdir

# In place of config.game.max_moves, so that the search never starts where the game has ended. Not more than it takes, as
# under superko every position has so many hashes.
LONGEST_GAME = 10_000


class NetworkPlayer:
    """A network with its search, as a `go.player.Player`. No two searches draw the same symmetries.

    Under superko, who recreates an earlier board would lose at once: here that is illegal, and the search's choice of it a pass.

    Args:
      agent: rules, network and search.
      variables: of the network.
      readouts: simulations for each move; 0 takes the network's first choice.
      resign_threshold: it resigns when its root's mean value is below.

    Attributes:
      board_size, komi: see Player.
      resign_threshold: as given.
    """

    def __init__(self, agent: Agent, variables: Variables, *, readouts: int, resign_threshold: float) -> None:
        self._rules = dataclasses.replace(agent.rules, max_moves=LONGEST_GAME)
        self._agent = dataclasses.replace(agent, rules=self._rules)
        self.board_size, self.komi = self._rules.size, self._rules.komi
        self.resign_threshold = resign_threshold
        self._variables, self._readouts = variables, readouts
        self._searches = 0
        self._start = jax.jit(self._rules.start)()
        self._area_program = jax.jit(lambda stones: area(stones, self.board_size))
        # Now, as clocks run when a move is asked for.
        self._after_program = jax.jit(self._after).lower(self._start, np.int32(BLACK), np.int32(0)).compile()
        self._search_program = jax.jit(self._found).lower(variables, self._start, np.int32(BLACK), np.int32(0)).compile()

    def start(self) -> Position:
        """See Player."""
        return self._start

    def legal(self, position: Position, colour: int, action: int) -> bool:
        """See Player."""
        return bool(self._after_program(position, np.int32(colour), np.int32(action))[1])

    def play(self, position: Position, colour: int, action: int) -> Position:
        """See Player."""
        after: Position = self._after_program(position, np.int32(colour), np.int32(action))[0]
        return after

    def choose(self, position: Position, colour: int) -> Choice:
        """See Player."""
        found = self._search_program(self._variables, position, np.int32(colour), np.int32(self._searches))
        self._searches += 1
        action, value = int(found[0]), float(found[1])
        if value < self.resign_threshold:
            return Choice(None, value)
        return Choice(action if self.legal(position, colour, action) else self._rules.pass_action, value)

    def stones(self, position: Position) -> list[int]:
        """See Player."""
        stones: list[int] = np.sign(position.board).tolist()
        return stones

    def captured(self, position: Position) -> tuple[int, int]:
        """See Player."""
        black, white = np.asarray(position.captured).tolist()
        return black, white

    def score(self, position: Position) -> float:
        """See Player."""
        black, white = np.asarray(self._area_program(position.history[0])).tolist()
        return float(black - white)

    def _turn(self, position: Position, colour: jax.Array) -> Position:
        """The position with the colour to move."""
        own = self._rules.to_play(position) == colour
        return jax.tree.map(lambda now, other: jnp.where(own, now, other), position, self._rules.skip_turn(position))

    def _after(self, position: Position, colour: jax.Array, action: jax.Array) -> tuple[Position, jax.Array]:
        """The position after a move, and whether that is legal, bool []."""
        position = self._turn(position, colour)
        after = self._rules.play(position, action)
        return after, self._rules.legal(position)[action] & ~after.repeated

    def _found(self, variables: Variables, position: Position, colour: jax.Array,
               number: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Action int32 [] and value float32 [] of search `number`."""
        positions = jax.tree.map(lambda leaf: leaf[None], self._turn(position, colour))
        key = jax.random.fold_in(jax.random.key(0), number)
        found = self._agent.search(variables, positions, key, self._readouts)
        return found.action[0], found.value[0]


def serve_gtp(config: ConfigDict, data_dir: Path, workdir: Path, run: int, readouts: int | None, resign: float | None,
              lines: Iterable[str], out: TextIO) -> None:
    """Answers GTP commands with the newest checkpoint of a run, until `quit` or the end of the lines.

    Args:
      config: network, rules and search.
      data_dir: of the config's data, which need not be there.
      workdir: the work folder that was trained in.
      run: which of its runs.
      readouts: simulations for each move; None: as in self-play.
      resign: threshold of the root's mean value; None: as in self-play.
      lines: the commands.
      out: gets the responses and nothing else.

    Raises:
      UserError: no minigo config, no checkpoint of it, or a number out of its bounds.
    """
    _check_minigo("gtp", config)
    readouts = config.selfplay.readouts if readouts is None else readouts
    resign = config.selfplay.resign_threshold if resign is None else resign
    if not 0 <= readouts <= MOST_READOUTS:
        raise UserError(f"--readouts={readouts} must be from 0 to {MOST_READOUTS}")
    if not -1 <= resign <= 1:
        raise UserError(f"--resign={resign:g} must be from -1 (never) to 1")
    with contextlib.redirect_stdout(sys.stderr):
        _check_run(config, workdir, run)
        state = restored(config, data_dir, _run_folder(workdir, run))
        player = NetworkPlayer(agent_of(config), variables_of(state), readouts=readouts, resign_threshold=resign)
    print(f"{config_reference(config)} after {int(state.step)} steps, {player.board_size}x{player.board_size}, "
          f"{readouts} readouts: ready for GTP", file=sys.stderr)
    gtp.serve(gtp.Engine(player), lines, out)


def write_games(config: ConfigDict, data_dir: Path, workdir: Path, run: int, count: int | None, out: Path) -> str:
    """Writes the games of the iteration in the newest checkpoint of a run as game_0000.sgf, ...; what it did, in a line.

    Args:
      config: whose network and rules they are.
      data_dir: of the config's data, which need not be there.
      workdir: the work folder that was trained in.
      run: which of its runs.
      count: at most so many; None: all.
      out: the folder, which may be there, but without games.

    Raises:
      UserError: no minigo config, no checkpoint of it or no games in it, or a folder that cannot be used.
    """
    _check_minigo("games", config)
    if count is not None and count < 1:
        raise UserError(f"--count={count} must be at least 1")
    trained = _check_run(config, workdir, run)  # its sizes are those of the checkpoint
    _make_folder(out)  # before a replay window is read, which may be large
    state = restored(trained, data_dir, _run_folder(workdir, run), experience=True)
    iteration = iteration_of(trained, data_dir, int(state.step))
    if iteration < 1:
        raise UserError(f"run {run} in {workdir} had played no games at its newest checkpoint; train on with run.py")
    name = f"{config_reference(config)} iteration {iteration}"
    records = list(_records(trained, state.experience["games"], name, count))
    try:
        for number, record in enumerate(records):
            write_whole(out / f"game_{number:04}.sgf", sgf.write(record))
    except OSError as error:
        raise _unwritable(out, error) from error
    unfinished = sum(not record.result for record in records)
    progress = f", {unfinished} of them in progress and without a result" if unfinished else ""
    return f"{printable(str(out))}: {len(records)} games of {name}{progress}"


def _records(config: ConfigDict, games: Games, name: str, count: int | None) -> Iterable[sgf.Game]:
    """The first games, `name` on both sides."""
    rules = rules_of(config)
    scores = np.asarray(jax.jit(jax.vmap(rules.score))(games.position))
    actions, winners, resigned, repeated = map(np.asarray, (games.actions, games.winner, games.resigned, games.position.repeated))
    for game, row in enumerate(actions[:count]):
        moves = tuple(sgf.Move(WHITE if number % 2 else BLACK, int(action))
                      for number, action in enumerate(row[row != NO_ACTION]))
        result = _result(int(winners[game]), bool(resigned[game]), bool(repeated[game]), float(scores[game]))
        yield sgf.Game(rules.size, rules.komi, moves, result, name, name)


def _result(winner: int, resigned: bool, repeated: bool, score: float) -> str:
    """What SGF calls RE; "" while the game goes on."""
    if not winner:
        return ""
    if resigned or repeated:
        return f"{'B' if winner == BLACK else 'W'}+{'R' if resigned else 'F'}"
    return sgf.area_result(score)


def iteration_of(config: ConfigDict, data_dir: Path, step: int) -> int:
    """Which iteration, from 1, has made the newest games after so many steps; its gating match comes before its games."""
    gates = int(config.gating.games > 0)
    return (step - 1 - gates) // int(benchmark_on_one_device(config, data_dir).steps_per_epoch) + 1


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        used = any(out.glob("game_*.sgf"))
    except OSError as error:
        raise _unwritable(out, error) from error
    if used:
        raise UserError(f"--out={out} holds games already; choose another folder, or empty it")


def _unwritable(out: Path, error: OSError) -> UserError:
    return UserError(f"--out={out} cannot be written: {error.strerror}")


def _check_minigo(verb: str, config: ConfigDict) -> None:
    if config.benchmark != "minigo":
        raise UserError(f"{verb} needs a minigo config, not one of {config.benchmark}")


def _check_run(config: ConfigDict, workdir: Path, run: int) -> ConfigDict:
    """The config that the folder was trained with."""
    if run < 0:
        raise UserError(f"--run={run} must be at least 0")
    trained = config_of(workdir)
    Workdir(workdir).check_owner(config, sections=("model", "game"))
    return trained


def _run_folder(workdir: Path, run: int) -> Path:
    return Workdir(workdir).run_folder(run)
