import numpy as np

from jax_mlperf.data.gratings import gratings


def test_pure_function_of_its_arguments():
    images, labels = gratings(600, 16, noise=0.175, seed=3)
    again, same = gratings(600, 16, noise=0.175, seed=3)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, same)
    assert (gratings(600, 16, noise=0.175, seed=4)[0] != images).mean() > 0.9
    assert images.shape == (600, 16, 16, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 60))


def test_noise_and_contrast_are_those_asked_for():
    """Grey 0.5; without noise the variance of a channel is contrast^2 / 3 (colour) / 2 (sine)."""
    plain = gratings(2000, 16, noise=0.0, seed=0)[0] / 255
    noisy = gratings(2000, 16, noise=0.1, seed=0)[0] / 255
    np.testing.assert_allclose(plain.mean(), 0.5, atol=0.002)
    np.testing.assert_allclose(plain.var(), 0.25**2 / 6, rtol=0.05)
    np.testing.assert_allclose((noisy - plain).std(), 0.1, rtol=0.01)


def test_classes_are_orientations_and_frequencies():
    """The strongest frequency of each noiseless image is that of its class: angle label % 5 * 36, 2 or 4 cycles."""
    images, labels = gratings(200, 64, noise=0.0, seed=1, jitter=0.0)
    strongest = images.var(axis=(1, 2)).argmax(axis=-1)
    spectrum = np.abs(np.fft.fft2(images[np.arange(200), :, :, strongest].astype(float)))
    spectrum[:, 0, 0] = 0
    y, x = np.unravel_index(spectrum[:, :, :32].reshape(200, -1).argmax(axis=1), (64, 32))
    y = np.where(y > 32, y - 64, y)
    cycles, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x)) % 180
    assert (np.abs(cycles - np.where(labels < 5, 2, 4)) < 0.8).all()
    turned = np.abs(angle - labels % 5 * 36)
    assert (np.minimum(turned, 180 - turned) < 18).mean() > 0.98


def test_jitter_moves_both():
    still, moved = (gratings(50, 64, noise=0.0, seed=1, jitter=jitter)[0] for jitter in (0.0, 0.08))
    assert (np.abs(still.astype(int) - moved).reshape(50, -1).max(axis=1) > 1).all()
