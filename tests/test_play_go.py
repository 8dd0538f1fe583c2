"""The verbs gtp and games on a checkpoint that was never trained: exact sessions, records that replay, mistakes in one line."""

import dataclasses
import io
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from go_referee import BLACK, WHITE, Referee
from plain_player import PlainPlayer

from jax_mlperf import cli, gtp, play_go
from jax_mlperf.benchmarks.minigo import benchmark_on_one_device
from jax_mlperf.benchmarks.minigo_checkpoint import restored
from jax_mlperf.benchmarks.minigo_settings import agent_of
from jax_mlperf.benchmarks.minigo_steps import variables_of
from jax_mlperf.checkpoint import Checkpoints, RunRecord
from jax_mlperf.config import load_config
from jax_mlperf.go import sgf
from jax_mlperf.go.rules import Rules
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.play_go import NetworkPlayer
from jax_mlperf.search.types import Found
from jax_mlperf.workdir import Workdir

SIZE, PASS, MOST_MOVES = 5, 25, 30
NETWORK = ("model.filters=4", "model.blocks=1", "model.value_width=4", f"game.max_moves={MOST_MOVES}")
TRAINED = (*NETWORK, "selfplay.games=5", "selfplay.readouts=4", "selfplay.moves_per_step=15", "replay.iterations=1",
           "data.batch_size=8", "data.updates=1", "evaluation.opponent=gone")
FLAGS = ["--config=minigo:tiny", *(f"--config.{override}" for override in NETWORK)]


def saved(workdir, config, state):
    """A run whose newest checkpoint this is."""
    Workdir(workdir).claim(config, resume=True, write=True)
    checkpoints = Checkpoints(Workdir(workdir).run_folder(0) / "checkpoints", keep=1)
    checkpoints.save(int(state.step), state, RunRecord(seed=0))
    checkpoints.close()


def untrained(step):
    """A state that no program has made: random weights that hardly ever pass, no games."""
    benchmark = benchmark_on_one_device(load_config("minigo:tiny", [*TRAINED, "evaluation.opponent=random"]), Path())
    shapes = jax.eval_shape(benchmark.init, key_data_shape("hash32"))
    generator = np.random.default_rng(3)
    params = jax.tree.map(lambda leaf: generator.normal(0, 0.3, leaf.shape).astype(leaf.dtype), shapes.params)
    params["policy"]["bias"][PASS] = -10
    statistics = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes.model_state)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return dataclasses.replace(zeros, step=np.int32(step), params=params, model_state=statistics)


def random_game(seed, moves, passes=0):
    """The actions of random legal moves and so many passes behind them, and the referee who saw them."""
    generator, referee, actions = random.Random(seed), Referee(SIZE), []
    for number in range(moves):
        legal = [point for point in referee.all_points() if referee.is_legal(point)] if number < moves - passes else []
        point = generator.choice(legal) if legal else None
        referee.play(point)
        actions.append(PASS if point is None else point[0] * SIZE + point[1])
    return actions, referee


PLAYED = [random_game(0, 20, passes=2), random_game(1, MOST_MOVES), random_game(2, 10), random_game(3, 12), random_game(4, 12)]


def played(games):
    """One game ended by passes, one by its length, one that black resigned after ten moves, and two that go on."""
    actions = np.full((5, MOST_MOVES), -1, np.int16)
    history = games.position.history.copy()
    for game, (moves, referee) in enumerate(PLAYED):
        actions[game, :len(moves)] = moves
        history[game, 0] = PlainPlayer(SIZE).stones(referee)
    by_area = [1 if black - white > 0.5 else -1 for black, white in (referee.areas() for _, referee in PLAYED)]
    position = games.position._replace(history=history, moves=np.array([len(moves) for moves, _ in PLAYED], np.int16))
    return games._replace(position=position, actions=actions, ended=np.arange(5) < 3,
                          winner=np.array([*by_area[:2], WHITE, 0, 0], np.int8), resigned=np.arange(5) == 2)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a run with two steps of self-play and one update in an iteration, stopped in the third one's games."""
    folder = tmp_path_factory.mktemp("go") / "work"
    state = untrained(step=2 * (2 + 1) + 1)
    state = dataclasses.replace(state, experience={**state.experience, "games": played(state.experience["games"])})
    saved(folder, load_config("minigo:tiny", TRAINED), state)
    return folder


@pytest.fixture(scope="module")
def player(workdir):
    """The network's first choice."""
    config = load_config("minigo:tiny", [*TRAINED, "evaluation.opponent=random"])
    variables = variables_of(restored(config, Path(), workdir))
    return NetworkPlayer(agent_of(config), variables, readouts=0, resign_threshold=-1.0)


def session(player, text):
    """The responses, without the line ends behind them."""
    out = io.StringIO()
    gtp.serve(gtp.Engine(player), io.StringIO(text), out)
    return out.getvalue().split("\n\n")[:-1]


def main(monkeypatch, capsys, *arguments, commands=""):
    """Status, standard output and the lines of standard error of a verb."""
    monkeypatch.setattr("sys.stdin", io.StringIO(commands))
    status = cli.main(arguments)
    output, errors = capsys.readouterr()
    return status, output, errors.splitlines()


def test_a_session(player):
    answers = session(player, """1 boardsize 5\n2 clear_board\n3 genmove b\n4 genmove w\n5 genmove w\n6 undo\n7 undo\n8 undo
        9 play b A2\n10 play b B1\n11 play w A1\n12 play w C3\n13 showboard\n14 final_score\n15 boardsize 9\n16 quit\n""")
    assert answers[:2] == ["=1", "=2"] and answers[5:8] == ["=6", "=7", "=8"]
    vertices = [answer.split()[1] for answer in answers[2:5]]
    assert len(set(vertices)) == 3 and all(vertex[0] in "ABCDE" and vertex[1] in "12345" for vertex in vertices)
    assert answers[8:12] == ["=9", "=10", "?11 illegal move", "=12"]
    assert "3 . .(O). . 3\n 2 X . . . . 2\n 1 . X . . . 1" in answers[12]
    assert "captured by black (X): 0, by white (O): 0; komi: 0.5" in answers[12]
    assert answers[13:] == ["=14 B+1.5", "?15 unacceptable size", "=16"]  # two stones and the corner, against one


def test_the_same_as_a_player_in_plain_python(player):
    """Random moves of random colours, beyond the length of the config's games."""
    generator, plain = random.Random(5), PlainPlayer(SIZE)
    position, expected = player.start(), plain.start()
    everywhere, captured = range(SIZE**2 + 1), 0
    for _ in range(3 * MOST_MOVES):
        colour = generator.choice((BLACK, WHITE))
        legal = [action for action in everywhere if plain.legal(expected, colour, action)]
        assert [action for action in everywhere if player.legal(position, colour, action)] == legal
        action = generator.choice(legal)
        position, expected = player.play(position, colour, action), plain.play(expected, colour, action)
        assert player.stones(position) == plain.stones(expected)
        assert player.captured(position) == plain.captured(expected)
        assert player.score(position) == plain.score(expected)
        captured = max(captured, *player.captured(position))
    assert captured > 10


def test_the_choice_is_legal_in_full_positions(player):
    """After many moves the network's favourites are taken; both colours ask for moves by turns."""
    position, chosen = player.start(), []
    for number in range(2 * MOST_MOVES):
        colour = WHITE if number % 2 else BLACK
        choice = player.choose(position, colour)
        assert -1 <= choice.value <= 1 and player.legal(position, colour, choice.action)
        position = player.play(position, colour, choice.action)
        chosen.append(choice.action)
    assert len(set(chosen)) > 10


@dataclasses.dataclass(frozen=True)
class Stubborn:
    """An agent that wants one point, whatever the position."""

    rules: Rules
    wish: int

    def search(self, variables, positions, key, readouts):
        """See Agent."""
        zeros = jnp.zeros((1, self.rules.actions))
        return Found(zeros, zeros, variables, jnp.full(1, self.wish, jnp.int32))


@pytest.mark.slow
def test_under_superko_nobody_repeats_a_board():
    """White's A stands in black's mouth, black takes it, both pass: then simple ko lets white take back, superko does not."""
    retake = 1 * SIZE + 1
    agent = Stubborn(Rules(SIZE, komi=0.5, max_moves=MOST_MOVES, superko=True), retake)
    player = NetworkPlayer(agent, jnp.float32([-0.25]), readouts=4, resign_threshold=-0.25)
    position, referee = player.start(), PlainPlayer(SIZE)
    expected = referee.start()
    moves = [*((BLACK, point) for point in (1, 5, 11)), *((WHITE, point) for point in (2, 8, 12, retake)), (BLACK, 7)]
    for colour, action in [*moves, (WHITE, PASS), (BLACK, PASS)]:
        assert player.legal(position, colour, action)
        position, expected = player.play(position, colour, action), referee.play(expected, colour, action)
    assert player.captured(position) == (1, 0) and referee.play(expected, WHITE, retake).repeated
    assert not player.legal(position, WHITE, retake) and player.choose(position, WHITE) == (PASS, -0.25), "not below -0.25"
    position = player.play(position, WHITE, 24)
    assert player.choose(position, WHITE).action == retake, "with another stone on the board it is no repetition"


def test_it_resigns_below_the_threshold(player, monkeypatch):
    monkeypatch.setattr(player, "resign_threshold", 1.0)
    assert session(player, "genmove b\nshowboard")[0] == "= resign"


@pytest.mark.parametrize(("flags", "readouts", "resign"), [((), 16, -1.0), (("--readouts=0", "--resign=0.5"), 0, 0.5)])
def test_gtp(flags, readouts, resign, workdir, player, monkeypatch, capsys):
    def as_asked(agent, variables, **settings):
        assert settings == {"readouts": readouts, "resign_threshold": resign} and agent.rules.size == SIZE
        print("anything at all")
        return player

    monkeypatch.setattr(play_go, "NetworkPlayer", as_asked)
    status, output, errors = main(monkeypatch, capsys, "gtp", *FLAGS, f"--workdir={workdir}", *flags,
                                  commands="name\n\n7 komi 0.5\n8 play w c3\n9 quit\n10 name\n")
    assert (status, output) == (0, "= jax_mlperf\n\n=7\n\n=8\n\n=9\n\n")
    assert errors == ["anything at all", f"minigo:tiny after 7 steps, 5x5, {readouts} readouts: ready for GTP"]


def test_games(workdir, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "games"
    arguments = ["games", *FLAGS, f"--workdir={workdir}", f"--out={out}", "--count=4"]
    status, output, errors = main(monkeypatch, capsys, *arguments)
    assert (status, errors) == (0, [])
    assert output == f"{out}: 4 games of minigo:tiny iteration 3, 1 of them in progress and without a result\n"
    assert sorted(path.name for path in out.iterdir()) == [f"game_000{number}.sgf" for number in range(4)]
    for number, (actions, referee) in enumerate(PLAYED[:4]):
        game = sgf.read_file(out / f"game_000{number}.sgf")
        assert [move.action for move in game.moves] == actions
        assert [move.colour for move in game.moves] == [WHITE if move % 2 else BLACK for move in range(len(actions))]
        assert (game.size, game.komi, game.black, game.white) == (5, 0.5, *["minigo:tiny iteration 3"] * 2)
        black, white = referee.areas()
        by_area = f"B+{black - white - 0.5:g}" if black > white else f"W+{white - black + 0.5:g}"
        assert game.result == (by_area, by_area, "W+R", "")[number]
    assert main(monkeypatch, capsys, *arguments) == (2, "", [
        f"error: --out={out} holds games already; choose another folder, or empty it"])


@pytest.mark.parametrize(("gates", "expected"), [(0, [0, 1, 1, 1, 2, 2]), (2, [0, 0, 1, 1, 1, 1, 2])])
def test_the_iteration_of_the_newest_games(gates, expected):
    """Two steps of self-play and one update, behind a match if there is one: its step leaves the games before it."""
    config = load_config("minigo:tiny", [*TRAINED, f"gating.games={gates}", "evaluation.opponent=random"])
    assert [play_go.iteration_of(config, Path(), step) for step in range(len(expected))] == expected


@pytest.mark.parametrize(("arguments", "message"), [
    (["gtp", "--config=transformer:tiny"], "gtp needs a minigo config, not one of transformer"),
    (["games", "--config=ncf:tiny", "--out=new"], "games needs a minigo config, not one of ncf"),
    (["gtp", *FLAGS, "--readouts=-1"], "--readouts=-1 must be from 0 to 100000"),
    (["gtp", *FLAGS, "--readouts=many"], "invalid int value: 'many'"),
    (["gtp", *FLAGS, "--resign=nan"], "--resign=nan must be from -1 (never) to 1"),
    (["gtp", *FLAGS, "--run=-1"], "--run=-1 must be at least 0"),
    (["gtp", *FLAGS, "--run=1"], "has no run 1 with checkpoints; train first"),
    (["gtp", *FLAGS, "--config.game.board_size=7"], "belongs to another config: game.board_size (5 there, 7 now)"),
    (["gtp", *FLAGS, "--workdir=absent"], "absent is no work folder"),
    (["games", *FLAGS, "--out=new", "--config.model.filters=8"], "belongs to another config: model.filters (4 there, 8 now)"),
    (["games", *FLAGS, "--out=new", "--count=0"], "--count=0 must be at least 1"),
    (["games", *FLAGS], "required: --out"),
    (["games", *FLAGS, f"--out={__file__}/x"], "cannot be written: Not a directory"),
])
def test_mistakes(arguments, message, workdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    status, output, errors = main(monkeypatch, capsys, verb, f"--workdir={workdir}", *rest, commands="name\n")
    assert (status, output, len(errors)) == (2, "", 1) and errors[0].startswith("error: ") and message in errors[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("selfplay.search=gumbel",), ("selfplay.search=puct", "game.superko=true")], ids=["gumbel", "puct"])
def test_self_play_and_search(kind, tmp_path, monkeypatch, capsys):
    """Games that the benchmark's own step has played replay under its rules; a search goes on behind the games' length."""
    overrides = (*TRAINED, *kind, f"selfplay.moves_per_step={MOST_MOVES}", "evaluation.opponent=random")
    config = load_config("minigo:tiny", overrides)
    benchmark = benchmark_on_one_device(config, Path())
    start = jax.jit(benchmark.init)(jax.random.key_data(jax.random.key(3)))
    state, _ = jax.jit(benchmark.train_step)(start, next(benchmark.train_batches(0, 0)), ())
    saved(tmp_path / "work", config, state)
    flags = [*FLAGS, *(f"--config.{override}" for override in kind), f"--workdir={tmp_path}/work"]
    status, output, _ = main(monkeypatch, capsys, "games", *flags, f"--out={tmp_path}/games")
    assert status == 0 and output.endswith(": 5 games of minigo:tiny iteration 1\n")
    rules, games = benchmark.agent.rules, state.experience["games"]
    play, begin = jax.jit(rules.play), jax.jit(rules.start)()
    facts = jax.jit(lambda position: (rules.ended(position), rules.winner(position), rules.legal(position)))
    for index, winner in enumerate(np.asarray(games.winner)):
        game = sgf.read_file(tmp_path / "games" / f"game_{index:04}.sgf")
        position = begin
        for number, move in enumerate(game.moves):
            ended, _, legal = facts(position)
            assert not ended and legal[move.action] and move.colour == (WHITE if number % 2 else BLACK)
            position = play(position, np.int32(move.action))
        assert facts(position)[:2] == (True, winner)
        assert game.result[0] == {1: "B", -1: "W"}[int(winner)]
    setup = "".join(f"play {colour} pass\nplay {colour} pass\n" for colour in "bw" * MOST_MOVES) + "play b C3\n"
    status, output, errors = main(monkeypatch, capsys, "gtp", *flags, "--readouts=4",
                                  commands=setup + "genmove w\ngenmove b\nprintsgf\n")
    assert status == 0 and "4 readouts" in errors[-1]
    made = sgf.read(output.split("\n\n")[-2].removeprefix("= "), "output").moves[-2:]
    assert all(move.action != PASS and "value" in move.comment and "1.000" not in move.comment for move in made)
