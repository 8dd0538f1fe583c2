"""The symmetries of the board: the spec's example, planes and policies together, and their inverses."""

import jax
import numpy as np

from jax_mlperf.go.symmetries import SYMMETRIES, apply_planes, apply_policy, undo_policy

# Spec section 13: identity, quarter turns, transpose, and its quarter turns, of [[1, 2], [3, 4]].
EXAMPLE = ([1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2], [1, 3, 2, 4], [3, 4, 1, 2], [4, 2, 3, 1], [2, 1, 4, 3])
EVERY = np.arange(SYMMETRIES)



@jax.jit
def every(planes, policy):
    """Both transformed by all symmetries, and the policies back again."""
    policies = jax.vmap(apply_policy, in_axes=(None, 0))(policy, EVERY)
    return jax.vmap(apply_planes, in_axes=(None, 0))(planes, EVERY), policies, jax.vmap(undo_policy)(policies, EVERY)


def test_example_of_the_spec():
    board = np.array([[1, 2], [3, 4]], np.int8)
    planes, policies, undone = every(np.stack([board, 10 * board], axis=-1), np.append(board, 5))
    np.testing.assert_array_equal(planes[..., 0].reshape(8, 4), EXAMPLE)
    np.testing.assert_array_equal(planes[..., 1], 10 * planes[..., 0])
    np.testing.assert_array_equal(policies, np.insert(EXAMPLE, 4, 5, axis=1))
    np.testing.assert_array_equal(undone, [[1, 2, 3, 4, 5]] * 8)


def test_policies_turn_with_the_planes_and_back():
    policy = np.random.default_rng(0).random(82, np.float32)
    planes, turned, undone = jax.device_get(every(policy[:-1].reshape(9, 9, 1), policy))
    np.testing.assert_array_equal(turned[:, :-1], planes.reshape(8, -1))
    np.testing.assert_array_equal(turned[:, -1], np.full(8, policy[-1]))  # the pass
    np.testing.assert_array_equal(undone, np.tile(policy, (8, 1)))
    assert len(np.unique(turned, axis=0)) == 8
