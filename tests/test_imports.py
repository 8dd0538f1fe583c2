"""What can be left uninstalled: all but JPEG decoding and TF1 checkpoints does without TensorFlow, Pillow and the checksums of TFRecords."""

import os
import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
from pathlib import Path

sys.modules |= dict.fromkeys(("tensorflow", "google_crc32c", "PIL", "scipy"))  # None: an import fails

from jax_mlperf.config import load_config
from jax_mlperf.describe import describe

assert describe(load_config("cifar10:tiny"), Path("absent"), devices=1)["parameters"] == 19_954
assert not {"sacrebleu", "tensorboard"} & set(sys.modules), "describe needs the packages of no other benchmark and of no run"
for name in ("configs", "input_pipelines", "jax_mlperf"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
"""


def test_everything_is_imported_and_described_without_the_packages_for_images(repository):
    environment = {**os.environ, "XLA_FLAGS": ""}
    finished = subprocess.run([sys.executable, "-c", PROGRAM], cwd=repository, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
