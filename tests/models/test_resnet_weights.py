"""Weights in torchvision's layout: there and back, and the same logits as the network they come from."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.errors import UserError
from jax_mlperf.models.resnet import ResNet
from jax_mlperf.models.resnet_weights import from_torchvision, to_torchvision

SMALL = {"stage_sizes": (2, 1), "width": 4, "num_classes": 5}


@pytest.fixture(scope="module")
def shapes():
    """Graph, parameters and statistics of the small model."""
    model = nnx.eval_shape(lambda: ResNet(rngs=nnx.Rngs(params=0), padding="symmetric", dtype=jnp.float32, **SMALL))
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


@pytest.fixture(scope="module")
def ours(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32), shapes[1:])


def test_there_and_back(shapes, ours):
    state = to_torchvision(*ours)
    assert state["conv1.weight"].shape == (4, 3, 7, 7) and state["layer2.0.downsample.0.weight"].shape == (32, 16, 1, 1)
    assert state["fc.weight"].shape == (5, 32) and "layer1.1.bn3.running_var" in state and len(state) == 62
    state["bn1.num_batches_tracked"] = np.array(7)
    back = from_torchvision(state, *shapes[1:])
    jax.tree.map(np.testing.assert_array_equal, back, tuple(ours))


@pytest.mark.parametrize("change, message", [
    (lambda state: state.pop("layer1.0.bn2.running_mean"), r"no 'layer1.0.bn2.running_mean': .* shape \[4\]"),
    (lambda state: state.update({"fc.weight": np.zeros((1000, 32))}), r"'fc.weight' has shape \[1000, 32\], .* needs \[5, 32\]"),
    (lambda state: state.update({"layer3.0.conv1.weight": np.zeros(1)}), "1 arrays .* 'layer3.0.conv1.weight' among them"),
])
def test_what_does_not_fit_is_named(shapes, ours, change, message):
    state = to_torchvision(*ours)
    change(state)
    with pytest.raises(UserError, match=message):
        from_torchvision(state, *shapes[1:])


def test_same_logits_as_the_torch_network(shapes, repository):
    torch = pytest.importorskip("torch")
    sys.path.insert(0, str(repository / "perf"))
    from peers.torch_resnet50 import ResNet as TorchResNet

    torch.manual_seed(0)
    peer = TorchResNet(**SMALL)
    images = np.random.default_rng(1).normal(size=(3, 64, 64, 3)).astype(np.float32)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    with torch.no_grad():
        for norm in (module for module in peer.modules() if isinstance(module, torch.nn.BatchNorm2d)):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
        peer.train()(tensor)  # moves the running statistics
        expected = peer.eval()(tensor).numpy()
    params, stats = from_torchvision({key: value.numpy() for key, value in peer.state_dict().items()}, *shapes[1:])

    @jax.jit
    def forward(params, stats):
        return nnx.merge(shapes[0], nnx.State(params), nnx.State(stats), copy=True)(images, train=False)

    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(forward(params, stats), expected, atol=1e-4)
