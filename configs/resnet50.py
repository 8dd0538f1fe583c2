"""ResNet-50 v1.5, ImageNet, to 75.90 % top-1: MLPerf Training v4.0, closed division.

    python run.py --config=configs/resnet50.py

Recipe: LARS at batch 3264, that of the submissions with A100s (35 epochs). Variants:
  :batch=N   another published recipe that reached 75.9 %: N of 408, 816, 1024, 1536, 1600, 1632, 2048, 2400, 3200,
             3264, 4096, 8192, 13056, 20480, 32256, 32768, 57344, 65536; closed division too
  :sgd       the fast SGD of v0.7 (batch 3264, 41 epochs); closed division too
  :tiny      a small network on gratings that the program draws, as JPEG in TFRecords; two CPU cores, half a minute to 90 %
"""

from ml_collections import ConfigDict

from jax_mlperf.config import base_config
from jax_mlperf.errors import UserError

# Batch -> base learning rate, warm-up epochs, momentum, weight decay, epochs of the schedule, whose conventions.
# Results of MLPerf v0.7 to v4.0, five runs each; where no length was published, the last evaluation and a margin.
_RECIPES = {
    408: (3.0, 2, 0.9, 5e-5, 37, "nvidia"), 816: (5.3, 2, 0.9, 5e-5, 37, "nvidia"),
    1024: (6.0, 2, 0.9, 2.5e-5, 37, "nvidia"), 1536: (7.2, 2, 0.9, 2e-4, 37, "nvidia"), 1600: (7.4, 2, 0.9, 5e-5, 37, "nvidia"),
    1632: (7.4, 2, 0.9, 5e-5, 37, "nvidia"), 2048: (9.0, 3, 0.9, 5e-5, 37, "nvidia"), 2400: (10.0, 2, 0.9, 5e-5, 37, "nvidia"),
    3200: (11.0, 2, 0.9, 5e-5, 37, "nvidia"), 3264: (10.5, 2, 0.9, 5e-5, 37, "nvidia"), 4096: (13.0, 2, 0.9, 2e-4, 40, "google"),
    8192: (17.0, 5, 0.9, 2e-4, 44, "google"), 13056: (12.8, 9, 0.9, 2.5e-5, 48, "nvidia"),
    20480: (22.0, 12, 0.9, 2.5e-5, 52, "nvidia"), 32256: (21.2, 16, 0.95, 2.5e-5, 58, "nvidia"),
    32768: (27.5, 16, 0.9321, 1e-4, 64, "google"), 57344: (23.0, 32, 0.95, 2.5e-5, 78, "nvidia"),
    65536: (23.080977304670448, 33, 0.9537213777059405, 1e-4, 92, "google"),
}
_CONVENTIONS = {
    "nvidia": {"padding": "symmetric", "conv_init": "xavier_gaussian", "zero_gamma": False},
    "google": {"padding": "same", "conv_init": "tf1", "zero_gamma": True},
}


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: the closed benchmark and what differs from it."""
    config = base_config()
    config.benchmark = "resnet50"
    config.quality_target = 75.9        # top-1, per cent
    config.label_smoothing = 0.1
    config.microbatch_per_device = 408
    config.model = ConfigDict({
        "stage_sizes": (3, 4, 6, 3), "width": 64, "num_classes": 1000,
        "stem": "conv7",                # or space_to_depth: the same function, computed otherwise
        "padding": "", "conv_init": "", "zero_gamma": False,
        "bn_group": 0,                  # samples whose statistics one batch norm takes; 0: what a device takes at once
        "bn_momentum": 0.9, "bn_epsilon": 1e-5,
        "initial_weights": "",          # a file of weights in torchvision's layout (.safetensors, .npz): open division
    })
    config.data = ConfigDict({
        "source": "imagenet",           # imagenet, or tiny (generated)
        "raw_dir": "",                  # folder of the TFRecord shards; empty: DATA_DIR/imagenet2012
        "batch_size": 3264, "image_size": 224,
        "crop_area": (0.05, 1.0), "crop_aspect_ratio": (0.75, 1.33), "crop_attempts": 100, "flip": True,
        "resize": "bilinear_v1",        # bilinear_v1 (the reference's), bilinear, bicubic
        "eval_crop": "short_side",      # short_side (256, then the centre: the reference's), central, whole
        "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),     # of pixels / 255
        "skip_corrupt": False,          # leave out records that cannot be decoded, and count them in the log
        "decode_threads": 0,            # 0: one for each core
        "expected": {"train": 1_281_167, "eval": 50_000},
    })
    config.optimizer = ConfigDict({
        "name": "lars",                 # lars, sgd
        "schedule": "polynomial",       # polynomial (power 2), piecewise (the first reference's: a tenth after each milestone)
        "milestones": (30, 60, 80, 90),         # epochs, of piecewise
        "base_learning_rate": 10.5, "end_learning_rate": 1e-4, "warmup_epochs": 2.0, "schedule_epochs": 37.0,
        "momentum": 0.9, "weight_decay": 5e-5,
        "trust_coefficient": 0.001, "epsilon": 0.0,     # of LARS
    })
    config.evaluation = ConfigDict({"every_epochs": 4, "first_epoch": 3, "batch_size": 2048, "keep_decoded": True})
    if variant == "sgd":
        _recipe(config, 3264)
        config.optimizer.update({"name": "sgd", "base_learning_rate": 6.0, "warmup_epochs": 5.0, "schedule_epochs": 42.0,
                                 "weight_decay": 2.5e-5})
        config.evaluation.first_epoch = 1
        config.max_epochs = 45.0
    elif variant == "tiny":
        config.division = "open"
        config.rng_impl = "hash32"
        config.update(_TINY)
    elif variant.startswith("batch=") and variant.removeprefix("batch=").isdecimal():
        _recipe(config, int(variant.removeprefix("batch=")))
    elif variant:
        raise UserError(f"configs/resnet50.py has no variant {variant!r}; there are: batch=N, sgd, tiny")
    else:
        _recipe(config, 3264)
    return config


def _recipe(config: ConfigDict, batch: int) -> None:
    if batch not in _RECIPES:
        raise UserError(f"configs/resnet50.py has no recipe for batch {batch}; there are: {', '.join(map(str, _RECIPES))}")
    rate, warmup, momentum, decay, epochs, conventions = _RECIPES[batch]
    config.data.batch_size = batch
    config.optimizer.update({"base_learning_rate": rate, "warmup_epochs": float(warmup), "momentum": momentum,
                             "weight_decay": decay, "schedule_epochs": float(epochs)})
    config.model.update(_CONVENTIONS[conventions])
    config.max_epochs = float(epochs)


_TINY = {
    "quality_target": 90.0,
    "max_epochs": 8.0,
    "compute_dtype": "float32",
    "microbatch_per_device": 0,
    "log_every_steps": 10,
    "model": {"stage_sizes": (1, 1, 1, 1), "width": 8, "num_classes": 10,
              "padding": "same", "conv_init": "tf1", "zero_gamma": True},
    "data": {"source": "tiny", "batch_size": 100, "image_size": 64, "crop_area": (0.5, 1.0), "flip": False,
             "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "eval_crop": "whole",
             "expected": {"train": 2_000, "eval": 1_000}},
    "optimizer": {"base_learning_rate": 4.0, "warmup_epochs": 1.2, "schedule_epochs": 12.0, "weight_decay": 2e-4},
    "evaluation": {"every_epochs": 1, "first_epoch": 1, "batch_size": 200},
}
