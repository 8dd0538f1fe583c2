"""Iterations of a micro minigo on one device and on two, against a referee; what travels; opponents out of work folders."""

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from compiled import initial_state
from go_games import as_point
from go_referee import BLACK, WHITE, Referee
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict
from resident import Resident

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.checkpoint import Checkpoints, RunRecord
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import BATCH_AXES, make_mesh
from jax_mlperf.plan.communication import collectives
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import signature, train_functions
from jax_mlperf.selfplay.agent import Variables
from jax_mlperf.workdir import Workdir

pytestmark = pytest.mark.slow

SIZE, MOVES, GAMES, KOMI = 3, 8, 8, 1.5
POINTS = SIZE * SIZE
MICRO = (
    "rng_impl=hash32", "compute_dtype=float32", f"game.board_size={SIZE}", f"game.komi={KOMI}", f"game.max_moves={MOVES}",
    "model.filters=4", "model.blocks=1", "model.value_width=4", f"selfplay.games={GAMES}", "selfplay.readouts=4",
    "selfplay.sampled_moves=3", "selfplay.target_moves=2", "selfplay.moves_per_step=3", "selfplay.resign_threshold=-0.5",
    "selfplay.resign_disabled=0.5", "replay.iterations=2", "replay.positions=0", "replay.kept=1.0", "data.source=none",
    "data.batch_size=8", "data.updates=4", "data.updates_per_step=2", "gating.games=6", "gating.readouts=2", "evaluation.metric=win_rate",
    "evaluation.opponent=random", "evaluation.readouts=0", "evaluation.games=20")
STEPS = 1 + 3 + 2  # a match, three times three moves (the last of eight is none), four updates


def built(devices, *overrides):
    return Resident("minigo", "/nowhere", *MICRO, *overrides, devices=devices)


def run(resident, state, steps, first=0):
    """The state on the devices after so many steps from step `first` on, and each step's metrics."""
    metrics = []
    for _, batch in zip(range(steps), resident.benchmark.train_batches(0, first), strict=False):
        state, more = resident.programs.train[signature(batch)](state, to_devices(resident.mesh, batch), resident.data)
        metrics.append(jax.device_get(more))
    return state, metrics


@pytest.fixture(scope="module", params=[1, 2])
def played(request):
    """A benchmark on one or two devices with its states after the first and the second iteration."""
    resident = built(request.param)
    states, metrics = [], []
    state = resident.start()
    for iteration in range(2):
        state, more = run(resident, state, STEPS, iteration * STEPS)
        states.append(jax.device_get(state))
        metrics.append(more)
    return SimpleNamespace(resident=resident, last=state, states=states, metrics=metrics, devices=request.param)


def test_an_iteration_plays_all_games_to_their_ends_and_learns(played):
    before = jax.device_get(played.resident.start())
    for number, (state, metrics) in enumerate(zip(played.states, played.metrics, strict=True)):
        assert state.step == (number + 1) * STEPS and state.experience["games"].ended.all()
        assert [sorted(entry) for entry in metrics] == [["gating_games_won"], *[["games_in_progress"]] * 3, *[["gradient_norm", "loss"]] * 2]
        going = [int(entry["games_in_progress"]) for entry in metrics[1:4]]
        assert GAMES >= going[0] >= going[1] >= going[2] == 0 and going[0] > 0
        assert all(np.isfinite(entry["loss"]) and entry["gradient_norm"] > 0 for entry in metrics[4:])
        assert any((a != b).any() for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(before.params), strict=True))
        before = state
    assert played.metrics[0][0]["gating_games_won"] == 0 and 0 <= played.metrics[1][0]["gating_games_won"] <= 6


def winner_of(referee):
    black, white = referee.areas()
    return 1 if black - white - KOMI > 0 else -1


def test_games_and_window_are_what_a_referee_says(played):
    """Both iterations' games: legal moves, ends, winners; boards before each move, policies over legal moves."""
    ends = {"passes": 0, "limit": 0, "resigned": 0}
    for slot, state in enumerate(played.states):
        games, window = state.experience["games"], state.experience["window"]
        assert (games.may_resign | ~games.resigned).all()
        for game in range(GAMES):
            actions = games.actions[game]
            moves = int(games.position.moves[game])
            assert (actions[:moves] >= 0).all() and (actions[moves:] == -1).all()
            referee = Referee(SIZE)
            for number, action in enumerate(actions[:moves]):
                assert referee.passes < 2, "nothing is played behind the end"
                stones = [(point in referee.stones[BLACK]) * 1 - (point in referee.stones[WHITE]) for point in referee.all_points()]
                assert np.sign(window.boards[game, slot, number]).tolist() == stones
                policy = window.policies[game, slot, number].astype(np.float32)
                legal = np.array([*map(referee.is_legal, referee.all_points()), True])
                assert policy.sum() == pytest.approx(1, abs=5e-3) and not policy[~legal].any() and policy[action] > 0
                if number >= 3:
                    assert policy[action] == policy.max()
                point = as_point(SimpleNamespace(pass_action=POINTS, size=SIZE), action)
                assert point is None or referee.is_legal(point)
                referee.play(point)
            end = "resigned" if games.resigned[game] else "passes" if referee.passes == 2 else "limit"
            assert end != "limit" or moves == MOVES
            assert games.winner[game] == (-referee.turn if end == "resigned" else winner_of(referee))
            assert (window.lengths[game, slot], window.winners[game, slot]) == (moves, games.winner[game])
            ends[end] += 1
    assert ends["passes"] + ends["limit"] > 0


def test_devices_play_games_of_their_own(played):
    for state in played.states:
        games = state.experience["games"].actions
        assert len({row.tobytes() for row in games}) > GAMES // 2
        assert not np.array_equal(games[:GAMES // 2], games[GAMES // 2:])


def test_the_second_iteration_leaves_the_first_ones_games_in_the_window(played):
    first, second = (state.experience["window"] for state in played.states)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:, 0], b[:, 0]), first, second)
    assert not first.lengths[:, 1].any() and second.lengths[:, 1].any()


def test_the_evaluation_counts_wins_and_the_iterations_games(played):
    games = played.states[-1].experience["games"]
    metrics = played.resident.evaluate(played.last)
    counted = int((games.winner != 0).sum())
    misjudged = (games.would_resign == games.winner)[~games.may_resign]
    assert 0 < misjudged.size < len(games.winner)
    assert metrics == {
        "win_rate": metrics["win_rate"], "games": counted, "moves_per_game": pytest.approx(games.position.moves.sum() / counted),
        "black_wins": pytest.approx((games.winner > 0).sum() / counted), "resigned": pytest.approx(games.resigned.sum() / counted),
        "false_resignations": pytest.approx(misjudged.mean()), "promotions": int(played.states[-1].experience["promotions"])}
    assert 0 < metrics["win_rate"] < 1 and metrics["win_rate"] * 20 == pytest.approx(round(metrics["win_rate"] * 20))


def test_the_learner_goes_on_whether_it_is_promoted_or_not(played):
    """Promoted in iteration 1 or not, the player is one of the two networks that the gate saw."""
    first, second = played.states
    promoted = bool(second.experience["promotions"])
    assert promoted == (played.metrics[1][0]["gating_games_won"] >= 4), "0.55 of 6 games"
    source = first if promoted else jax.device_get(played.resident.start())
    jax.tree.map(np.testing.assert_array_equal, second.experience["player"].params, source.params)
    jax.tree.map(np.testing.assert_array_equal, second.experience["player"].statistics, source.model_state)


def test_experience_stays_on_its_devices_and_only_sums_travel(played):
    if played.devices == 1:
        assert not any(collectives(program) for program in (*played.resident.programs.train.values(), played.resident.programs.evaluate))
        return
    for leaf in jax.tree.leaves((played.last.experience["games"], played.last.experience["window"])):
        assert leaf.sharding.spec == PartitionSpec(BATCH_AXES)
    limits = {"gate": 4, "iteration, move": 4, "iteration, update": None}
    parameters = 4 * sum(leaf.size for leaf in jax.tree.leaves(played.last.params))
    for key, program in played.resident.programs.train.items():
        found = collectives(program)
        assert {entry.kind for entry in found} == {"all-reduce"}
        size = sum(entry.bytes * entry.count for entry in found)
        (limit,) = [limit for names, limit in limits.items() if names == key.replace(" scalar", "")]
        if limit:
            assert size == limit, "one count"
        else:
            assert size < 2 * (2 * parameters + 2000), "gradients and batch statistics of two updates"
    found = collectives(played.resident.programs.evaluate)
    assert {entry.kind for entry in found} == {"all-reduce"}
    assert sum(entry.bytes * entry.count for entry in found) == 7 * 4, "counts of the games, of resignations, and of what is right"


# Counts over devices ------------------------------------------------------------------------------------------------


def one_program(kind, *overrides):
    """The start on two devices, and only the program of the steps whose batch has the key `kind`."""
    mesh = make_mesh(2, 1, jax.devices()[:2])
    benchmark = benchmarks.create(load_config("minigo", (*MICRO, *overrides)), Topology(2, mesh=mesh), Path("/nowhere"))
    (function, arguments), = [entry for key, entry in train_functions(benchmark, mesh).items() if kind in key]
    program = function.lower(*arguments).compile()
    return initial_state(benchmark, mesh), lambda state, batch: program(state, to_devices(mesh, batch), ())


def test_a_match_counts_the_games_of_all_devices_once():
    """Three pairs on two devices are two each, the fourth does not count; white wins all with that komi: half of the games."""
    state, step = one_program("gate", "game.komi=50.5", "gating.readouts=0", "gating.resign_threshold=-1.0", "gating.threshold=0.5")
    changed = jax.tree.map(lambda leaf: leaf + 0.25, state.params)
    expected = jax.device_get(changed)
    after, metrics = step(dataclasses.replace(state, params=changed), {"gate": np.int32(1)})
    assert metrics["gating_games_won"] == 3 and after.experience["promotions"] == 1, "half is enough"
    jax.tree.map(np.testing.assert_array_equal, after.experience["player"].params, expected)


def test_a_single_pass_ends_where_the_first_device_has_no_batch_left():
    """Half of 24 positions are three batches of four rows, half of nine are one and a bit."""
    state, step = one_program("update", "replay.single_pass=True", "replay.kept=0.5", "gating.games=0")
    window = state.experience["window"]
    lengths = np.zeros(window.lengths.shape, np.int32)
    lengths[:3, 0], lengths[GAMES // 2, 0], lengths[GAMES - 1, 1] = 8, 7, 2
    placed = jax.device_put(lengths, window.lengths.sharding)
    state = dataclasses.replace(state, experience={**state.experience, "window": window._replace(lengths=placed)})
    counts, params = [], [jax.device_get(state.params)]
    for update in (0, 2):
        state, _ = step(state, {"iteration": np.int32(0), "update": np.int32(update)})
        params.append(jax.device_get(state.params))
        counts.append([int(leaf) for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype == np.int32])
    assert counts[0] == counts[1] == [1] * len(counts[0]) != []
    same = [all((a == b).all() for a, b in zip(*map(jax.tree.leaves, pair), strict=True)) for pair in itertools.pairwise(params)]
    assert same == [False, True] and state.step == 2


# Other runs' networks -----------------------------------------------------------------------------------------------


def saved(workdir, *overrides, seed=0):
    """A work folder with one checkpoint, of random weights; and its state."""
    config = load_config("minigo", (*MICRO, *overrides))
    benchmark = benchmarks.create(config, Topology(1), Path("/nowhere"))
    state = jax.jit(benchmark.init)(jax.random.key_data(jax.random.key(seed, impl=key_implementation("hash32"))))
    gone = ConfigDict(config.to_dict())  # what it was evaluated against, and what it began with
    gone.evaluation.opponent, gone.model.initial_weights = str(workdir / "gone"), str(workdir / "gone")
    Workdir(workdir).claim(gone.lock(), resume=True, write=True)
    checkpoints = Checkpoints(Workdir(workdir).run_folder(0) / "checkpoints", keep=1)
    checkpoints.save(7, dataclasses.replace(state, step=state.step + 7), RunRecord(seed=0))
    checkpoints.close()
    return jax.device_get(state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("opponent")


@pytest.fixture(scope="module")
def opponent(folder):
    return saved(folder, "game.komi=0.5", seed=1)


def against(folder, *overrides):
    config = load_config("minigo", (*MICRO, f"evaluation.opponent={folder}", *overrides))
    return benchmarks.create(config, Topology(1), Path("/nowhere"))


def always_passing(variables):
    bias = variables.params["policy"]["bias"]
    policy = {**variables.params["policy"], "bias": np.where(np.arange(POINTS + 1) == POINTS, 100, bias).astype(np.float32)}
    return variables._replace(params={**variables.params, "policy": policy})


def test_games_against_a_network_of_a_work_folder(folder, opponent):
    """Against itself about half, and nearly all against one that only passes."""
    benchmark = against(folder, "evaluation.games=200")
    assert benchmark.metric._their_agent.rules == benchmark.agent.rules, "a match has one komi: that of the config"
    theirs = benchmark.host_data()
    jax.tree.map(np.testing.assert_array_equal, theirs, Variables(opponent.params, opponent.model_state))
    passing = always_passing(theirs)
    (batch,) = benchmark.eval_batches()
    evaluate = jax.jit(benchmark.eval_step)

    def rate(ours, theirs):
        state = dataclasses.replace(opponent, params=ours.params, model_state=ours.statistics)
        return benchmark.score([jax.device_get(evaluate(state, batch, benchmark.device_data(theirs)))])["win_rate"]

    assert 0.3 < rate(theirs, theirs) < 0.7
    assert rate(passing, passing) == 0.5, "white wins the empty board"
    assert rate(passing, theirs) < 0.2 < 0.8 < rate(theirs, passing)


def test_an_opponent_may_be_of_another_architecture_but_plays_on_the_same_board(folder, opponent, tmp_path):
    theirs = saved(tmp_path, "model.filters=6", "model.planes=mlperf07")
    benchmark = against(tmp_path)
    jax.tree.map(lambda spec, array: np.testing.assert_equal((spec.shape, spec.dtype), (array.shape, array.dtype)),
                 benchmark.host_data_spec, benchmark.host_data())
    np.testing.assert_array_equal(benchmark.host_data().params["policy"]["kernel"], theirs.params["policy"]["kernel"])
    with pytest.raises(UserError, match=r"config.evaluation.opponent .* plays on 3x3, but config.game.board_size is 5$"):
        against(folder, "game.board_size=5")
    with pytest.raises(UserError, match=r"has no run 3 with checkpoints"):
        against(folder / "run_3").host_data()


def test_training_starts_from_a_network_of_a_work_folder(folder, opponent):
    benchmark = benchmarks.create(load_config("minigo", (*MICRO, f"model.initial_weights={folder}")), Topology(1), Path("/nowhere"))
    fresh = jax.jit(benchmark.init)(jax.random.key_data(jax.random.key(5, impl=key_implementation("hash32"))))
    state = benchmark.starting_point(fresh)
    expected = Variables(opponent.params, opponent.model_state)
    for found in (Variables(state.params, state.model_state), state.experience["player"]):
        jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert state.step == 0 and any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (fresh.params, state.params)), strict=True))
    for override in ("model.filters=5", "model.conv_bias=False"):
        key, value = override.split("=")
        with pytest.raises(UserError, match=rf"has {key} \w+, but config.{key} is {value}: they must be equal$"):
            benchmarks.create(load_config("minigo", (*MICRO, f"model.initial_weights={folder}", override)), Topology(1), Path("/nowhere"))
