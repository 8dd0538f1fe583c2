"""NeuMF: sizes, initial values, and its forms against the plain formula in numpy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import ClosedJaxpr

from jax_mlperf.flops import count_flops
from jax_mlperf.losses import sigmoid_cross_entropy
from jax_mlperf.models.neumf import NeuMF, first_layer_from_tables, forward_flops
from jax_mlperf.models.neumf_loss import blocked_loss

SIZES = {"users": 7, "items": 11, "factors": 3, "layers": (8, 6, 4)}


def abstract(**sizes):
    return nnx.eval_shape(lambda: NeuMF(rngs=nnx.Rngs(params=0), **sizes))


def parameters(model):
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


@pytest.fixture(scope="module")
def params():
    """Large enough that every part matters in the logits."""
    rng = np.random.default_rng(0)
    state = nnx.state(abstract(**SIZES), nnx.Param)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32) / 2, nnx.to_pure_dict(state))


def bound(params, dtype=jnp.float32):
    return nnx.merge(nnx.graphdef(abstract(dtype=dtype, **SIZES)), nnx.State(params))


@pytest.mark.parametrize(("users", "items", "factors", "layers", "count"), [
    (138_493, 26_744, 64, (256, 256, 128, 64), 31_832_577), (6_040, 3_706, 8, (64, 32, 16, 8), 392_601),
    (138_493, 26_744, 8, (64, 32, 16, 8), 6_612_241), (6_040, 3_706, 64, (256, 256, 128, 64), 1_978_305),
    (2_197_225, 855_776, 64, (256, 256, 128, 64), 586_283_265), (2_048, 1_024, 8, (64, 32, 16, 8), 125_641),
])
def test_parameters(users, items, factors, layers, count):
    assert parameters(abstract(users=users, items=items, factors=factors, layers=layers)) == count


def test_parts_of_the_benchmarks_model():
    model = abstract(users=138_493, items=26_744, factors=64, layers=(256, 256, 128, 64))
    assert model.user_embedding.size + model.item_embedding.size == 31_725_504
    assert (parameters(model.layers), parameters(model.output)) == (106_944, 129)


def test_operations_of_a_pair():
    layers = (256, 256, 128, 64)
    assert forward_flops(64, layers) == 213_376
    products = count_flops(lambda model, pair: model(pair, pair), abstract(users=5, items=5, factors=64, layers=layers),
                           jax.ShapeDtypeStruct((10,), jnp.int32))
    assert products == 10 * (213_376 - 2 * 64 - 2 * 64), "all but the two elementwise products of the factors"


def test_initial_values():
    @jax.jit
    def init():
        model = NeuMF(users=400, items=300, factors=64, layers=(256, 256, 128, 64), rngs=nnx.Rngs(params=1))
        return nnx.to_pure_dict(nnx.state(model, nnx.Param))

    params = jax.device_get(init())
    for table in (params["user_embedding"], params["item_embedding"]):
        assert np.std(table) == pytest.approx(0.01, rel=0.02) and abs(np.mean(table)) < 3e-4
    dense = [*params["layers"].values(), params["output"]]
    kernels = [0.108253, 0.125, 0.176777, 0.153093]
    biases = [0.0625, 0.0625, 0.088388, 0.088388]
    for layer, kernel, bias in zip(dense, kernels, biases, strict=True):
        assert 0.95 * kernel < np.abs(layer["kernel"]).max() <= kernel + 1e-6
        assert np.std(layer["kernel"]) == pytest.approx(kernel / np.sqrt(3), rel=0.1)
        assert 0 < np.abs(layer["bias"]).max() <= bias + 1e-6


def by_formula(params, users, items):
    """Two tables a side, concatenations and all, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    user, item, f = params["user_embedding"][users], params["item_embedding"][items], SIZES["factors"]
    x = np.concatenate([user[:, f:], item[:, f:]], axis=1)
    for layer in params["layers"].values():
        x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    x = np.concatenate([user[:, :f] * item[:, :f], x], axis=1)
    return (x @ params["output"]["kernel"] + params["output"]["bias"])[:, 0]


USERS, ITEMS = np.random.default_rng(1).integers(0, (7, 11), (50, 2)).T


def test_both_forms_are_the_formula_and_have_the_same_gradients(params):
    weights = np.random.default_rng(2).standard_normal(50).astype(np.float32)

    @partial(jax.jit, static_argnums=1)
    def results(params, from_tables):
        def total(params):
            logits = bound(params)(USERS, ITEMS, from_tables=from_tables)
            return jnp.sum(weights * logits), logits

        return jax.grad(total, has_aux=True)(params)

    (plain, logits), (shared, shared_logits) = results(params, False), results(params, True)
    np.testing.assert_allclose(logits, by_formula(params, USERS, ITEMS), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(shared_logits, logits, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, shared)


@pytest.mark.parametrize("from_tables", [False, True])
def test_blocks_have_the_plain_loss_and_its_gradient(params, from_tables):
    labels, weights = np.arange(50) % 5 == 0, np.arange(50) < 44
    pairs = (USERS, ITEMS, labels, weights)

    def plain(params):
        logits = bound(params)(USERS, ITEMS, from_tables=from_tables)
        return sigmoid_cross_entropy(logits, labels, weights)[0]

    blocked = partial(blocked_loss, bound, pairs=pairs, from_tables=from_tables, block=10)
    results = jax.jit(lambda params: [jax.value_and_grad(lambda params, loss=loss: 3 * loss(params))(params)
                                      for loss in (plain, lambda params: blocked(params))])(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), *results)


def test_parts_broadcast_one_user_against_many_items(params):
    @jax.jit
    def scores(params):
        model = bound(params)
        return model.score(model.user_part(model.user_embedding[np.array([4])]), model.item_part(model.item_embedding[...]))

    np.testing.assert_allclose(scores(params), by_formula(params, np.full(11, 4), np.arange(11)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("from_tables", [False, True])
def test_narrow_products_leave_logits_and_the_tables_gradients_wide(params, from_tables):
    """No gradient of a row is rounded before it is added to the others of its row."""
    def total(params):
        return jnp.sum(bound(params, jnp.bfloat16)(USERS, ITEMS, from_tables=from_tables))

    added = [equation for equation in _equations(jax.make_jaxpr(jax.value_and_grad(total))(params).jaxpr)
             if equation.primitive.name == "scatter-add"]
    assert len(added) == 2 and {equation.invars[2].aval.dtype for equation in added} == {jnp.dtype("float32")}
    products = [equation for equation in _equations(jax.make_jaxpr(total)(params).jaxpr) if equation.primitive.name == "dot_general"]
    assert {equation.invars[0].aval.dtype for equation in products} == {jnp.dtype("bfloat16")}
    assert jax.eval_shape(total, params).dtype == jnp.float32


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            if isinstance(value, ClosedJaxpr):
                yield from _equations(value.jaxpr)


def test_first_layer_goes_where_fewer_rows_are():
    assert first_layer_from_tables(1_048_576, 138_493, 26_744) and not first_layer_from_tables(65_536, 138_493, 26_744)


@pytest.mark.parametrize("layers", [(8,), (7, 4)])
def test_impossible_layers(layers):
    with pytest.raises(ValueError, match="the first one even"):
        abstract(**{**SIZES, "layers": layers})


def test_dropout_keeps_the_expectation_of_what_is_linear(params):
    """With the MLP's part of the last kernel at zero, the logits are linear in what dropout leaves."""
    users, items, f = np.arange(7), np.arange(7), SIZES["factors"]
    kernel = params["output"]["kernel"].copy()
    kernel[f:] = 0
    linear, mlp = ({**params, "output": {**params["output"], "kernel": last}} for last in (kernel, params["output"]["kernel"] - kernel))
    graph = nnx.graphdef(abstract(dropout_rate=0.25, **SIZES))
    logits = jax.jit(jax.vmap(lambda params, key: nnx.merge(graph, nnx.State(params))(users, items, key=key), (None, 0)))
    keys = jax.random.split(jax.random.key(0), 4000)
    drawn = np.asarray(logits(linear, keys))
    terms = params["user_embedding"][:7, :f] * params["item_embedding"][:7, :f] * kernel[:f, 0]
    deviation = np.sqrt(0.25 / 0.75 * np.square(terms).sum(axis=1))
    np.testing.assert_allclose(drawn.std(axis=0), deviation, rtol=0.05)
    assert (np.abs(drawn.mean(axis=0) - by_formula(linear, users, items)) < 4 * deviation / np.sqrt(4000)).all()
    assert (np.std(logits(mlp, keys), axis=0) > 0).all(), "the hidden layers lose elements, too"
