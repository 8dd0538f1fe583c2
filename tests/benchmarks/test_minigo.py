"""The minigo benchmark, without a network's search: sizes, rates, log, mistakes, who plays, how many updates there are."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology, TrainState
from jax_mlperf.benchmarks.minigo_settings import agent_of
from jax_mlperf.benchmarks.minigo_steps import Steps, make_loss
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.selfplay.agent import Variables
from jax_mlperf.selfplay.games import no_games
from jax_mlperf.selfplay.window import Examples

WIN_RATE = ("evaluation.metric=win_rate", "data.source=none", "evaluation.opponent=random")


def create(*overrides, reference="minigo", topology=None):
    return benchmarks.create(load_config(reference, overrides), topology or Topology(1), Path("/nowhere"))


@pytest.fixture(scope="module")
def default():
    return create()


def test_sizes_of_the_reference(default):
    """A gating match, 114 moves, and 6,250 updates of 16 positions in 50 steps; 2 x 181 predictions."""
    assert default.steps_per_epoch == 1 + 114 + 50 and (default.train_samples, default.eval_samples) == (100_000, 362)
    assert [sorted(spec) for spec in default.batch_specs] == [["gate"], ["iteration", "move"], ["iteration", "update"]]
    _, _, update = default.batch_specs
    assert [default.samples_in(spec) for spec in default.batch_specs] == [100 * 114 * 201, 2000 * 201, 125 * 16]
    assert default.forward_flops(update) == 2000 * 2 * 13_859_812, "spec: operations of a position"
    assert default.train_flops_per_step() == pytest.approx(
        2 * 13_859_812 * (100 * 114 * 201 + 114 * 2000 * 201 + 50 * 3 * 2000) / 165)
    assert (default.max_steps(), default.next_eval_step(0), default.next_eval_step(165)) == (165_000, 165, 330)


def test_parameters_and_what_the_experience_takes(default):
    state = jax.eval_shape(default.init, key_data_shape("threefry2x32"))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == 191_386
    assert sum(leaf.size for leaf in jax.tree.leaves(state.model_state)) == 1_222
    window = state.experience["window"]
    positions = 25 * 2000 * 114
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(window)) == positions * (81 + 2 * 82) + 25 * 2000 * 5
    assert {name: leaf.shape for name, leaf in window._asdict().items()} == {
        "boards": (2000, 25, 114, 81), "policies": (2000, 25, 114, 82), "lengths": (2000, 25), "winners": (2000, 25)}


def test_batches_say_what_each_step_does(default):
    batches = default.train_batches(0, 165)
    iteration = [next(batches) for _ in range(165)]
    assert iteration[0] == {"gate": 1}
    assert [batch["move"] for batch in iteration[1:115]] == list(range(114))
    assert [batch["update"] for batch in iteration[115:]] == list(range(0, 6250, 125))
    assert {int(batch["iteration"]) for batch in iteration[1:]} == {1} and next(batches) == {"gate": 2}
    assert next(default.train_batches(7, 165 + 116)) == iteration[116], "resumed, and whatever the seed"
    assert all(value.dtype == np.int32 and value.shape == () for batch in iteration for value in batch.values())


def test_iterations_without_gating_and_with_several_moves_a_step():
    benchmark = create("gating.games=0", "selfplay.moves_per_step=50", "data.updates_per_step=3125")
    batches = benchmark.train_batches(0, 0)
    assert [next(batches) for _ in range(5)] == [*[{"iteration": 0, "move": move} for move in (0, 50, 100)],
                                                 *[{"iteration": 0, "update": update} for update in (0, 3125)]]
    assert benchmark.steps_per_epoch == 5 and len(benchmark.batch_specs) == 2


def test_rates_fall_after_the_update_at_the_boundary(default):
    """Spec 13: update 1,000,000 has 0.01, the next one 0.001."""
    assert [float(default._schedule(update)) for update in (0, 1_000_000, 1_000_001, 2_000_000, 2_000_001)] == \
        pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])
    start = 165 * 160  # of the iteration that begins with update 1,000,000
    assert [default.learning_rate(start + place) for place in (0, 114, 115, 116)] == pytest.approx([0.01, 0.01, 0.01, 0.001])


def test_what_the_log_says(default):
    values = {entry.key: entry.value for entry in default.hyperparameters()}
    assert values.items() >= {
        "train_batch_size": 16, "lr_rates": "0.01,0.001,0.0001", "lr_boundaries": "1000000,2000000", "virtual_losses": 1,
        "min_selfplay_games_per_generation": 2000, "opt_weight_decay": 1e-4, "filter_amount": 0.05, "num_readouts": 200,
        "value_init_penalty": 0.0, "holdout_pct": 0.0, "disable_resign_pct": 0.05, "resign_threshold": -0.95, "eval_games": 0}.items()
    later = {entry.key: entry.value for entry in create(*WIN_RATE[2:], reference="minigo:win_rate").hyperparameters()}
    assert (later["value_init_penalty"], later["eval_games"], later["lr_rates"], later["opponent"]) == (0.2, 100, "0.16,0.016,0.0016", "random")
    assert default.quality.reached({"move_prediction": 0.4}) and not default.quality.reached({"move_prediction": 144 / 362})


def test_scores_are_shares_of_the_rows_and_of_the_games(default):
    output = {"right": 145, "games": 1600, "black_wins": 400, "resigned": 800, "moves": 80_000, "promotions": 3,
              "played_out": 80, "misjudged": 4}
    metrics = default.score([jax.tree.map(np.int32, output)])
    assert metrics == {"move_prediction": 145 / 362, "games": 1600, "moves_per_game": 50, "black_wins": 0.25, "resigned": 0.5,
                       "false_resignations": 0.05, "promotions": 3}
    assert default.quality.reached(metrics) and default.logged_quality(metrics) == 0.400552
    assert [tuple(entry[:2]) for entry in default.evaluation_entries(metrics)] == [("actual_selfplay_games_per_generation", 1600)]


@pytest.mark.parametrize(("overrides", "message"), [
    ("game.max_moves=0", "must be at least 1"), ("game.max_moves=40000", "must be at most 32767"),
    ("model.planes=x", "is 'x'; there are: agz, mlperf07"), ("model.bn_momentum=1.0", "must be below 1"),
    ("selfplay.games=2001", "config.selfplay.games of 2001 does not divide over 2 devices; 2000 or 2002 would"),
    ("selfplay.readouts=0", "must be at least 1"), ("selfplay.search=mcts", "there are: puct, gumbel"),
    ("selfplay.puct=v0.7", "there are: v0.5, v0.6"), ("selfplay.dirichlet_alpha=0.0", "must be above 0"),
    ("selfplay.noise_weight=1.5", "must be at most 1"), ("selfplay.holdout=1.0", "must be below 1"),
    ("selfplay.resign_threshold=0.5", "must be at most 0"), ("gating.resign_threshold=0.5", "must be at most 0"),
    ("evaluation.resign_threshold=0.5", "must be at most 0"),
    ("replay.kept=0.0", "must be above 0"), ("replay.positions=-1", "must be at least 0"),
    ("replay.iterations=100000", "are 22,800,000,000 positions, more than the 2,147,483,647 that 31 bits number"),
    ("data.batch_size=15", "config.data.batch_size of 15 does not divide over 2 devices; 14 or 16 would"),
    ("data.updates_per_step=7", "config.data.updates is 6250, must be a multiple of config.data.updates_per_step, which is 7"),
    ("data.updates=200000000", "updates x data.batch_size .* 3,200,000,000 examples, more than the 2,147,483,647"),
    ("optimizer.learning_rates=(0.1,)", r"boundaries is \(1000000, 2000000\), must increase and be one fewer than the 1"),
    ("optimizer.boundaries=(5,5)", "must increase"), ("optimizer.boundaries=(5,3000000000)", "must be at most 2147483647"),
    ("optimizer.name=adam", "there are: sgd"), ("optimizer.decayed=all", "there are: not_biases, not_biases_nor_offsets"),
    ("gating.games=3", "config.gating.games is 3, must be even: either network has black in half of them"),
    ("gating.threshold=2.0", "must be at most 1"), ("evaluation.rounds=0", "must be at least 1"),
    ("evaluation.metric=elo", "there are: move_prediction, win_rate"), ("microbatch_per_device=4", "leave it at 0"),
    ("mesh.fsdp=2", "leave it at 1"),
    ("quality_target=40.0", "must be at most 1"), ("quality_target=0.0", "must be above 0"), ("game.komi=1e39", "at most 361"),
    ("evaluation.readouts=2000000000", "must be at most 100000"), ("selfplay.dirichlet_alpha=1e300", "must be at most 1000"),
    ("selfplay.target_exponent=1e10", "must be at most 4"), ("model.blocks=100000", "must be at most 1000"),
    ("model.filters=100000000", "must be at most 65536"), ("optimizer.learning_rates=(1e999,0.1,0.1)", "must be at most"),
    ("optimizer.boundaries=(1.5,2)", r"boundaries is \(1.5, 2\), must be whole numbers"),
    ("optimizer.boundaries=(1,True)", "must increase"), ("optimizer.boundaries=(False,2)", "must be whole numbers"),
    ("game.board_size=19", "are 9x9"), ((*WIN_RATE, "game.board_size=1"), "board size 1: must be from 2 to 19"),
    ((*WIN_RATE, "evaluation.games=7"), "config.evaluation.games is 7, must be even"),
    ((*WIN_RATE[:2], "evaluation.opponent="), "is empty, but evaluation.metric 'win_rate' needs one"),
    ((*WIN_RATE[:2], "evaluation.opponent=/nowhere"), "/nowhere is no work folder"),
    ("model.initial_weights=/nowhere", "/nowhere is no work folder"),
])
def test_mistakes_in_the_config_are_one_line(overrides, message):
    with pytest.raises(UserError, match=message) as error:
        create(*([overrides] if isinstance(overrides, str) else overrides), topology=Topology(2))
    assert "\n" not in str(error.value)


# Steps, with stubs for what is expensive ---------------------------------------------------------------------------

SMALL = (*WIN_RATE, "game.board_size=3", "game.max_moves=4", "model.filters=4", "model.blocks=0", "model.value_width=2",
         "selfplay.games=4", "replay.iterations=2", "data.batch_size=2", "data.updates=6", "data.updates_per_step=3",
         "compute_dtype=float32")


def steps_of(*overrides, update=None):
    config = load_config("minigo", (*SMALL, *overrides))
    return Steps(config, agent_of(config), None, update)


def state_with(steps, trained, player):
    """A state whose network is a number."""
    experience = {"player": Variables({"w": jnp.float32(player)}, {}), "promotions": jnp.int32(2)} if steps.config.gating.games else {}
    return TrainState(jnp.int32(7), {"w": jnp.float32(trained)}, {}, jnp.int32(0), jnp.zeros(2, jnp.uint32), experience)


@pytest.mark.parametrize(("iteration", "won", "threshold", "promoted"), [
    (3, 55, 0.55, True), (3, 54, 0.55, False), (1, 49, 0.49, True), (3, 0, 0.0, True), (0, 100, 0.0, False)])
def test_a_network_plays_from_now_on_if_it_wins_the_share(iteration, won, threshold, promoted):
    """Spec 3: at least 0.55 of the games; the learner stays as it is, promoted or not. At first it is the player itself."""
    steps = steps_of("gating.games=100", f"gating.threshold={threshold}")
    steps._won = lambda trained, player, key: jnp.int32(won)
    after, metrics = jax.jit(steps.gate)(state_with(steps, trained=2.0, player=1.0), {"gate": jnp.int32(iteration)}, jax.random.key(0))
    assert after.experience["player"].params["w"] == (2.0 if promoted else 1.0) and after.params["w"] == 2.0
    assert (after.experience["promotions"], after.step) == (2 + promoted, 8)
    assert metrics["gating_games_won"] == (won if iteration else 0)


@pytest.mark.parametrize(("games", "player"), [(100, 1.0), (0, 2.0)])
def test_who_plays(games, player):
    """The one that passed the gate, or else the newest."""
    steps = steps_of(f"gating.games={games}")
    played = []
    steps._play = lambda variables, *_: (played.append(float(variables.params["w"])), None, None)
    state = state_with(steps, trained=2.0, player=1.0)
    state = dataclasses.replace(state, experience={**state.experience, "games": None, "window": None})
    steps.play(state, {"iteration": 0, "move": 0}, None)
    assert played == [player]


def test_an_evaluation_and_the_step_after_it_draw_other_numbers():
    """Else the match of an evaluation and the gating match that follows have the same chance."""
    benchmark, keys = create(*SMALL), []
    state = state_with(benchmark.steps, trained=0.0, player=0.0)
    state = dataclasses.replace(state, experience={**state.experience, "games": None})
    benchmark._evaluation = lambda *arguments: keys.append(arguments[-1]) or {}
    benchmark.steps.gate = lambda state, batch, key: keys.append(key)
    benchmark.eval_step(state, {"row": None}, ())
    benchmark.train_step(state, {"gate": 1}, ())
    benchmark.train_step(dataclasses.replace(state, step=jnp.int32(8)), {"gate": 1}, ())
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 3


def test_a_game_that_is_resigned_before_its_first_move_is_a_game():
    """Black gives up at once; one game goes on, one has a winner after four moves, and one has not begun yet."""
    benchmark = create(*SMALL)
    benchmark.metric.right = lambda *_: jnp.int32(0)
    games = no_games(benchmark.agent.rules, 4)
    games = games._replace(ended=np.array([True, False, True, True]), winner=np.int8([-1, 0, 1, 0]),
                           resigned=np.array([True, False, False, False]), may_resign=np.array([True, True, False, False]),
                           position=games.position._replace(moves=np.int16([0, 3, 4, 0])))
    counts = benchmark._sums(None, games, None, (), jax.random.key(0))
    assert {name: int(count) for name, count in counts.items() if count} == {
        "games": 2, "black_wins": 1, "resigned": 1, "moves": 7, "played_out": 1}


@pytest.mark.parametrize(("single_pass", "made"), [(True, (3, 2)), (False, (3, 3))])
def test_a_single_pass_ends_with_the_positions(single_pass, made):
    """There are five whole batches, and three updates in a step."""
    def update(state, batch, data):
        state = dataclasses.replace(state, opt_state=state.opt_state + 1, params={"w": 10 * state.params["w"] + batch["winner"]})
        return state, {"loss": batch["winner"], "gradient_norm": jnp.float32(0)}

    steps = steps_of("gating.games=0", f"replay.single_pass={single_pass}", update=update)
    steps._batches = lambda window, iteration, first, key: (Examples(None, None, jnp.float32([1, 2, 3])), jnp.int32(5))
    state = state_with(steps, trained=0.0, player=0.0)
    state = dataclasses.replace(state, experience={"window": None})
    for first, count in zip((0, 3), made, strict=True):
        state, metrics = jax.jit(steps.train)(dataclasses.replace(state, opt_state=jnp.int32(0), params={"w": jnp.float32(0)}),
                                              {"iteration": jnp.int32(1), "update": jnp.int32(first)}, jax.random.key(0))
        assert (state.opt_state, state.params["w"]) == (count, 123 if count == 3 else 12)
    assert state.step == 9 and metrics["loss"] == (0 if single_pass else 3)


def test_the_loss_is_cross_entropy_and_the_weighted_squared_error():
    """Of Black's value, whoever moves; summed over the positions."""
    agent = steps_of().agent
    rng = np.random.default_rng(0)
    batch = {"planes": rng.random((6, 3, 3, 17)) < 0.5, "policy": rng.dirichlet(np.ones(10), 6).astype(np.float32),
             "winner": np.float32([1, -1, 1, 1, -1, -1])}

    @jax.jit
    def both(batch):
        params, statistics = agent.network.init(jax.random.key(0, impl="unsafe_rbg"))
        losses = [make_loss(agent, weight)(params, statistics, batch, None, ()) for weight in (1.0, 0.25)]
        return losses, agent.network.bound(params, statistics)(batch["planes"], train=True), statistics

    (whole, quarter), (logits, value), before = jax.device_get(both(batch))
    entropy = -np.sum(batch["policy"] * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))))
    error = np.sum((value - batch["winner"]) ** 2)
    assert whole.loss_sum == pytest.approx(entropy + error, rel=1e-5) and quarter.loss_sum == pytest.approx(entropy + error / 4, rel=1e-5)
    assert whole.weight_sum == 6
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(whole.model_state), jax.tree.leaves(before), strict=True))
