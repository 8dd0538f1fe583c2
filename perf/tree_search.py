"""The cost of the search trees: jax_mlperf.search against mctx.search, with a game and a network that cost next to nothing.

    python perf/tree_search.py [--readouts=16,64,256] [--batch=64] [--actions=82] [--seconds=S]

PUCT is v0.5's, for mctx written with the fields of its tree; Gumbel is mctx's own policy. A figure is the median over the
calls, the forms in turn, of microseconds a simulation and game: of processor time, all threads together, on a CPU (unlike
wall time it hardly depends on what else the machine does), of wall time elsewhere.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import mctx
from benchmark_step import medians_in_turn

from jax_mlperf.search import Evaluation, gumbel_search, puct_search


class Line(NamedTuple):
    """The moves so far, as a hash."""

    hash: jax.Array  # uint32 []


class Endless(NamedTuple):
    """Every action is always legal, and no game ends."""

    actions: int

    @property
    def pass_action(self) -> int:
        """The last action; nobody is told that it was played."""
        return self.actions - 1

    def play(self, line: Line, action: jax.Array) -> Line:
        """Mixes the action into the hash."""
        return Line(scramble(line.hash * 31 + action.astype(jnp.uint32) + 1))

    def legal(self, line: Line) -> jax.Array:
        """All of them."""
        return jnp.full(self.actions, True)

    def ended(self, line: Line) -> jax.Array:
        """Never."""
        return jnp.bool_(False)

    def outcome(self, line: Line) -> jax.Array:
        """None."""
        return jnp.float32(0)

    def passed(self, line: Line) -> jax.Array:
        """Never."""
        return jnp.bool_(False)

    def evaluate(self, lines: Line, key: jax.Array) -> Evaluation:
        """Logits in [-2, 2] and values in [-0.5, 0.5] from the hashes [B]."""
        mixed = scramble(lines.hash[:, None] + jnp.arange(self.actions + 1, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1))
        uniform = (mixed >> 8).astype(jnp.float32) / 2**24
        return Evaluation(4 * uniform[:, 1:] - 2, uniform[:, 0] - 0.5)


def scramble(bits: jax.Array) -> jax.Array:
    """Two multiplications of uint32."""
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x45D9F3B)
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x45D9F3B)
    return bits ^ (bits >> 16)


def mctx_forms(game: Endless, readouts: int) -> dict[str, Callable[[Line, jax.Array], jax.Array]]:
    """Visits of the roots by mctx."""
    def recurrent(params: None, key: jax.Array, action: jax.Array, lines: Line) -> tuple[mctx.RecurrentFnOutput, Line]:
        lines = jax.vmap(game.play)(lines, action)
        logits, value = game.evaluate(lines, key)
        return mctx.RecurrentFnOutput(reward=jnp.zeros_like(value), discount=-jnp.ones_like(value), prior_logits=logits,
                                      value=value), lines  # fmt: skip

    def root_of(lines: Line, key: jax.Array) -> mctx.RootFnOutput:
        logits, value = game.evaluate(lines, key)
        return mctx.RootFnOutput(prior_logits=logits, value=value, embedding=lines)

    def select(key: jax.Array, tree: mctx.Tree, node: jax.Array, depth: jax.Array | int = 0) -> jax.Array:
        visits, priors = tree.children_visits[node], jax.nn.softmax(tree.children_prior_logits[node])
        factor = 1.38 * jnp.sqrt(tree.node_visits[node] + 2)
        scores = (tree.raw_values[node] + visits * tree.qvalues(node) + factor * priors) / (1 + visits)
        return jnp.argmax(scores).astype(jnp.int32)

    def puct(lines: Line, key: jax.Array) -> jax.Array:
        tree = mctx.search(None, key, root=root_of(lines, key), recurrent_fn=recurrent, root_action_selection_fn=select,
                           interior_action_selection_fn=select, num_simulations=readouts)  # fmt: skip
        return tree.children_visits[:, 0]

    def gumbel(lines: Line, key: jax.Array) -> jax.Array:
        found = mctx.gumbel_muzero_policy(None, key, root_of(lines, key), recurrent, readouts)
        return found.search_tree.children_visits[:, 0]

    return {"puct": puct, "gumbel": gumbel}


def our_forms(game: Endless, readouts: int) -> dict[str, Callable[[Line, jax.Array], jax.Array]]:
    """The same visits by jax_mlperf.search."""
    def puct(lines: Line, key: jax.Array) -> jax.Array:
        return puct_search(game, lines, game.evaluate, key, readouts=readouts, version="v0.5").visits

    def gumbel(lines: Line, key: jax.Array) -> jax.Array:
        return gumbel_search(game, lines, game.evaluate, key, readouts=readouts).visits

    return {"puct": puct, "gumbel": gumbel}


def main() -> None:
    """Parses flags, measures, prints a line a number of readouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readouts", default="16,64,256", help="one line for each")
    parser.add_argument("--batch", type=int, default=64, help="games")
    parser.add_argument("--actions", type=int, default=82)
    parser.add_argument("--seconds", type=float, default=3, help="for each pair of calls")
    arguments = parser.parse_args()
    game, key = Endless(arguments.actions), jax.random.key(0)
    lines = Line(scramble(jnp.arange(arguments.batch, dtype=jnp.uint32) + 12345))
    print("us a simulation and game" + "".join(f"{name + ': mctx':>16}{'ours':>8}{'ratio':>7}{'same visits':>13}"
                                               for name in ("puct", "gumbel")))  # fmt: skip
    for readouts in map(int, arguments.readouts.split(",")):
        cells = []
        theirs, ours = mctx_forms(game, readouts), our_forms(game, readouts)
        for name in ours:
            pair = [jax.jit(form[name]).lower(lines, key).compile() for form in (theirs, ours)]
            same = bool(jnp.all(pair[0](lines, key) == pair[1](lines, key)))
            calls = [lambda run=run: jax.block_until_ready(run(lines, key)) for run in pair]
            before, after = medians_in_turn(calls, arguments.seconds)
            scale = 1e6 / readouts / arguments.batch
            cells.append(f"{scale * before:16.2f}{scale * after:8.2f}{before / after:7.2f}{same!s:>13}")
        print(f"{readouts:24}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
