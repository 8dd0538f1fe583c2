"""Moves per second of Go's rules: jax_mlperf.go.rules, without and with superko, against pgx's public environment.

    python perf/go_rules.py [--games=256,1024] [--size=9] [--moves=114] [--seconds=S]

All play the same random legal moves, passing only where nothing else is legal, until every game of a batch has reached its most
moves: one jitted scan. A move is play, legal, ended and outcome for ours, and a step for pgx, which always has superko. A figure
is the median over the calls, the three in turn: of processor time, all threads together, on a CPU (unlike wall time it hardly
depends on what else the machine does), of wall time elsewhere. Compiling is in seconds of processor time. The last column is
in how many games black has won: with superko it must be pgx's.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
from benchmark_step import medians_in_turn
from pgx.go import Go, State

from jax_mlperf.go.rules import Position, Rules

Games = Callable[[jax.Array], jax.Array]


def main() -> None:
    """Parses flags, measures, prints a line for each of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", default="256", help="one group of lines for each, such as 256,1024")
    parser.add_argument("--size", type=int, default=9, help="points on a side")
    parser.add_argument("--moves", type=int, default=114, help="of each game")
    parser.add_argument("--seconds", type=float, default=10, help="for each number of games, compiling not counted")
    arguments = parser.parse_args()
    ours = Rules(arguments.size, max_moves=arguments.moves)
    superko = dataclasses.replace(ours, superko=True)
    forms = {"pgx": pgx_games(superko), "ours": our_games(ours), "ours, superko": our_games(superko)}
    print(f"{'games':>7}  {'rules':14}{'moves/s':>12}{'us a move':>11}{'of pgx':>8}{'compiling':>11}{'black won':>11}")
    for games in map(int, arguments.games.split(",")):
        for line in measured(forms, games, arguments.moves, arguments.seconds):
            print(line, flush=True)


def measured(forms: dict[str, Games], games: int, moves: int, seconds: float) -> Iterator[str]:
    """A line for each form."""
    numbers = jnp.arange(games, dtype=jnp.uint32)
    compiled, compiling = zip(*(_compiled(form, numbers) for form in forms.values()), strict=True)
    medians = medians_in_turn([lambda run=run: run(numbers).block_until_ready() for run in compiled], seconds)
    for name, run, spent, median in zip(forms, compiled, compiling, medians, strict=True):
        per_move, won = median / games / moves, int(jnp.sum(run(numbers) > 0))
        yield (f"{games:7}  {name:14}{1 / per_move:12.0f}{1e6 * per_move:11.2f}{medians[0] / median:8.2f}{spent:11.1f}{won:11}")


def our_games(rules: Rules) -> Games:
    """Who wins, +1 black, -1 white, of the games with the numbers [B], by our rules."""
    def move(index: jax.Array, game: jax.Array, position: Position, legal: jax.Array, won: jax.Array
             ) -> tuple[Position, jax.Array, jax.Array]:
        position = rules.play(position, _chosen(legal, index, game))
        outcome = rules.outcome(position) * rules.to_play(position)
        return position, rules.legal(position), jnp.where(won == 0, outcome, won)

    return lambda games: _played(move, (rules.start(), jnp.full(rules.actions, True), jnp.float32(0)), rules.max_moves, games)


def pgx_games(rules: Rules) -> Games:
    """The same by pgx."""
    environment = Go(size=rules.size, komi=rules.komi, history_length=rules.history, max_terminal_steps=rules.max_moves)

    def move(index: jax.Array, game: jax.Array, state: State, won: jax.Array) -> tuple[State, jax.Array]:
        after = environment.step(state, _chosen(state.legal_action_mask, index, game))
        # Its two players have black and white at random: whoever moves at an even number has black.
        reward = after.rewards[jnp.where(index % 2 == 0, state.current_player, 1 - state.current_player)]
        return after, jnp.where(won == 0, reward, won)

    return lambda games: _played(move, (environment.init(jax.random.key(0)), jnp.float32(0)), rules.max_moves, games)


def _played(move: Callable[..., tuple], start: tuple, moves: int, games: jax.Array) -> jax.Array:
    """The last part of what is carried from move to move, after all of them, [B]."""
    carry = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(games), *jnp.shape(leaf))), start)
    every = jax.vmap(move, in_axes=(None, *[0] * (1 + len(start))))
    return jax.lax.scan(lambda carry, index: (every(index, games, *carry), None), carry, jnp.arange(moves))[0][-1]


def _chosen(legal: jax.Array, move: jax.Array, game: jax.Array) -> jax.Array:
    """A legal action by a hash of the move, the game and the actions, int32 []; the pass is the last resort."""
    bits = (jnp.arange(len(legal), dtype=jnp.uint32) * 31 + move.astype(jnp.uint32)) * 1021 + game * jnp.uint32(0x9E3779B1)
    for _ in range(2):
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x45D9F3B)
    rank = jnp.where(jnp.arange(len(legal)) < len(legal) - 1, (bits >> 2).astype(jnp.int32) + 1, 1)
    return jnp.argmax(jnp.where(legal, rank, 0)).astype(jnp.int32)


def _compiled(form: Games, numbers: jax.Array) -> tuple[Games, float]:
    start = time.process_time()
    compiled = jax.jit(form).lower(numbers).compile()
    return compiled, time.process_time() - start


if __name__ == "__main__":
    main()
