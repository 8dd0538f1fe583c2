"""The four professional games as positions; spec: sums and counts, and the ceiling of whoever answers by the position alone."""

import jax
import numpy as np
import pytest
from go_games import as_point
from go_referee import BLACK, WHITE, Referee

from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.minigo_evaluation import MovePrediction, padded
from jax_mlperf.config import load_config
from jax_mlperf.data import pro_games
from jax_mlperf.go.rules import Rules
from jax_mlperf.go.symmetries import tables
from jax_mlperf.search.types import Found
from jax_mlperf.selfplay import agent as agent_module
from jax_mlperf.selfplay.agent import Agent, SearchSettings, Variables
from jax_mlperf.selfplay.move_prediction import found, replayed

RULES = Rules()
ROUNDS, MOVES = 2, 181


class Answering:
    """An agent that answers with a row's own entry of the weights."""

    rules = RULES

    def search(self, variables, positions, key, readouts):
        assert readouts == 1000
        return Found(None, None, None, variables)


@pytest.fixture(scope="module")
def metric(tmp_path_factory, shared_data):
    settings = pro_games.Settings(raw_dir=str(shared_data / "go9x9_pro"))
    folder = pro_games.prepare(tmp_path_factory.mktemp("pro"), settings)
    return MovePrediction(load_config("minigo"), Answering(), folder)


@pytest.fixture(scope="module")
def everything(metric):
    """What `right` gets, on the host; with rows behind the ends of games."""
    return jax.device_get(jax.jit(lambda actions: replayed(RULES, actions))(metric.host_data()["actions"]))


@pytest.fixture(scope="module")
def replay(metric, everything):
    """The same at the 181 rows of a round."""
    return jax.tree.map(lambda leaf: leaf[metric.rows()[:MOVES]], everything)


def test_counts_and_sums_of_the_recorded_games(metric, replay):
    rows = metric.rows()
    assert metric.samples == len(rows) == ROUNDS * MOVES == 362 and (rows[:MOVES] == rows[MOVES:]).all()
    actions = replay.actions
    games = np.split(actions, np.cumsum([42, 62, 47]))
    assert [game[:5].tolist() for game in games] == [[32, 39, 49, 48, 57], [32, 47, 58, 30, 21], [40, 38, 47, 48, 39], [23, 49, 60, 30, 41]]
    assert [int(game.sum()) for game in games] == [1974, 2842, 1897, 1281] and len(set(actions.tolist())) == 73
    assert sum(actions.tolist()) == 7994


def test_positions_are_those_before_the_moves(replay):
    positions, row, kos = replay.positions, 0, 0
    for moves in (42, 62, 47, 30):
        referee, boards = Referee(9), [np.zeros(81)] * 8
        for move in range(moves):
            stones = [(point in referee.stones[BLACK]) - (point in referee.stones[WHITE]) for point in referee.all_points()]
            boards = [np.array(stones), *boards[:7]]
            np.testing.assert_array_equal(positions.history[row], boards)
            assert positions.moves[row] == move and positions.ko[row] == (-1 if referee.ko is None else 9 * referee.ko[0] + referee.ko[1])
            kos += referee.ko is not None
            point = as_point(RULES, replay.actions[row])
            assert referee.is_legal(point)
            referee.play(point)
            row += 1
    assert kos == 1
    white = int((positions.moves % 2).sum())
    assert np.abs(positions.history).sum(dtype=int) + 81 * white == 35_607, "pgx's planes: 1 where white moves"


def test_only_recorded_moves_count_and_padding_does_not(metric, everything):
    (batch,) = padded(metric.rows(), Topology(8))
    rows = batch["row"]
    assert len(rows) == 368 and (rows[362:] == -1).all()
    answers = everything.actions[np.maximum(rows, 0)]
    assert metric.right(answers, rows, everything, None) == 362
    wrong = np.where(np.arange(368) % 2, answers, (answers + 1) % 82)
    assert metric.right(wrong, rows, everything, None) == 181
    assert metric.right(tables(9)[2][answers], rows, everything, None) < 20, "a mirror image is not the move"


def keys_of(predictions):
    """What a network sees of each row, as bytes."""
    return [history.tobytes() + bytes([int(moves) % 2])
            for history, moves in zip(predictions.positions.history, predictions.positions.moves, strict=True)]


def test_the_ceiling_of_whoever_answers_by_the_position_alone(metric, everything, replay):
    """Spec: 178 of 181, as 177 positions differ: the empty board (32, 32, 40, 23) and black at 32 (39, 47) return."""
    memory = {}
    for key, action in zip(keys_of(replay), replay.actions, strict=True):
        memory.setdefault(key, action)
    assert len(memory) == 177
    rows = metric.rows()
    asked = jax.tree.map(lambda leaf: leaf[rows], everything)
    answers = np.array([memory[key] for key in keys_of(asked)])
    assert metric.right(answers, rows, everything, None) == ROUNDS * 178


def turned(board, symmetry):
    """A board [..., 9, 9]: quarter turns, then of its transpose."""
    board = np.swapaxes(board, -1, -2) if symmetry >= 4 else board
    return np.rot90(board, symmetry % 4, axes=(-2, -1))


@pytest.mark.slow
def test_a_network_that_remembers_the_games_is_right_under_any_symmetry(monkeypatch, metric, everything, replay):
    """Through the planes, the symmetry and its way back; where boards are symmetric its memory is ambiguous."""
    history = replay.positions.history.reshape(MOVES, 8, 9, 9)
    side = 1 - 2 * (replay.positions.moves % 2)
    planes = np.stack([history == side[:, None, None, None], history == -side[:, None, None, None]], axis=2).reshape(MOVES, 16, 9, 9)
    planes = np.concatenate([planes, np.broadcast_to((side == 1)[:, None, None, None], (MOVES, 1, 9, 9))], axis=1)
    seen = np.concatenate([turned(planes, symmetry) for symmetry in range(8)]).transpose(0, 2, 3, 1).reshape(8 * MOVES, -1)
    moves = np.eye(82, dtype=np.float32)[replay.actions]
    points = moves[:, :81].reshape(MOVES, 9, 9)
    answers = np.concatenate([turned(points, symmetry).reshape(MOVES, 81) for symmetry in range(8)])
    by_key = {}
    for index, row in enumerate(seen):
        by_key.setdefault(row.tobytes(), set()).add(int(answers[index].argmax()))
    sure = np.array([len(by_key[row.tobytes()]) == 1 for row in seen[:MOVES]])
    assert 170 <= sure.sum() < 178
    signs = 2.0 * seen - 1

    def remembered(_, planes):
        match = (2.0 * planes.reshape(len(planes), -1) - 1) @ signs.T
        logits = 10.0 * jax.numpy.asarray(answers)[jax.numpy.argmax(match, axis=1)]
        return jax.numpy.pad(logits, ((0, 0), (0, 1))), jax.numpy.zeros(len(planes))

    class Network:
        def bound(self, params, statistics):
            return None

    monkeypatch.setattr(agent_module, "fold", lambda model: model)
    monkeypatch.setattr(agent_module, "infer", remembered)
    agent = Agent(RULES, "agz", Network(), SearchSettings("puct", "v0.5", 1))
    search = jax.jit(lambda predictions, rows, key: found(agent, Variables({}, {}), predictions, rows, key, 0))
    hits = np.stack([search(everything, metric.rows()[:MOVES], jax.random.key(seed)) for seed in range(3)])
    assert hits[:, sure].all() and not hits[:, ~sure].all()
