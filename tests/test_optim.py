"""Adam against the reference's update in NumPy; averaging of snapshots."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_mlperf.optim import adam


def test_adam_is_the_references_update():
    b1, b2, eps = 0.9, 0.98, 1e-9
    rng = np.random.default_rng(0)
    theta = rng.normal(size=7)
    params = jnp.asarray(theta, jnp.float32)
    optimizer = adam(lambda step: 0.01 * step, b1, b2)
    state = optimizer.init(params)
    m, v = np.zeros(7), np.zeros(7)
    for t in range(1, 6):
        gradient = rng.normal(size=7)
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        rate = 0.01 * (t - 1)  # the counter before the update
        theta = theta - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        if t == 1:
            assert float(jnp.abs(updates).max()) == 0.0
    np.testing.assert_allclose(params, theta, rtol=1e-5)


def test_state_is_float32():
    state = adam(lambda step: 1e-3, 0.9, 0.98).init({"kernel": jnp.zeros((2, 3))})
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert len(floats) == 2 and all(leaf.dtype == jnp.float32 for leaf in floats)
