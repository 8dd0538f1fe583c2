"""Checkpoint averaging against a plain loop."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_mlperf.averaging import averaged, with_snapshots


@pytest.mark.parametrize(("k", "every", "steps"), [(3, 2, 11), (4, 1, 2), (2, 5, 4)])
def test_mean_of_the_last_snapshots(k, every, steps):
    plain, optimizer = optax.sgd(0.1, momentum=0.9), with_snapshots(optax.sgd(0.1, momentum=0.9), k, every)
    params, state = {"w": jnp.arange(3.0)}, optimizer.init({"w": jnp.arange(3.0)})
    reference, reference_state = params, plain.init(params)
    kept = []
    for step in range(1, steps + 1):
        gradients = {"w": jnp.cos(step * params["w"])}
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        updates, reference_state = plain.update(gradients, reference_state, reference)
        reference = optax.apply_updates(reference, updates)
        if step % every == 0:
            kept.append(np.asarray(params["w"]))
    np.testing.assert_array_equal(params["w"], reference["w"])
    expected = np.mean(kept[-k:], axis=0) if kept else params["w"]
    np.testing.assert_allclose(averaged(params, state, every)["w"], expected, rtol=1e-6)


def test_without_snapshots_it_is_the_optimizer():
    plain, params = optax.sgd(0.1), {"w": jnp.ones(2)}
    assert with_snapshots(plain, 0, 5) is plain and averaged(params, plain.init(params), 5) is params


def test_refuses_what_is_no_number_of_snapshots():
    with pytest.raises(ValueError, match="at least 1 step"):
        with_snapshots(optax.sgd(0.1), 2, 0)
