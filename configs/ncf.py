"""NeuMF on MovieLens-20M to HR@10 0.635: MLPerf Training v0.5's recommendation, closed division.

    python run.py --config=configs/ncf.py

Recipe: batch 1,048,576 of NVIDIA's entries, which reached the target in 249 of 300 runs (13 to 20 epochs). Variants:
  :batch=N     another published recipe: N of 2048 (the reference), 98304 (Intel; 55 of 100 runs), 1048576; closed division too
  :reference   the same as :batch=2048
  :ml1m        MovieLens-1M with the sizes and the 99 evaluation negatives of He et al. 2017
  :ml100k      MovieLens-100K, likewise
  :fractal     a set as large as MovieLens-20M that the program expands from the ratings of :tiny; one epoch
  :tiny        ratings that the program draws from latent factors; two CPU cores, half a minute to 0.635
"""

from ml_collections import ConfigDict

from jax_mlperf.config import base_config
from jax_mlperf.errors import UserError

# Batch -> learning rate, beta_1, beta_2, epsilon: the reference's run_and_time.sh; Intel's and NVIDIA's results of MLPerf v0.5.
_RECIPES = {
    2_048: (0.0005, 0.9, 0.999, 1e-8),
    98_304: (0.003821, 0.783529, 0.909003, 1.45439e-7),
    1_048_576: (0.0045, 0.25, 0.5, 1e-8),
}


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: the closed benchmark and what differs from it."""
    config = base_config()
    config.benchmark = "ncf"
    config.quality_target = 0.635       # HR@10
    config.max_epochs = 20.0
    config.steps_per_dispatch = 0
    config.model = ConfigDict({
        "factors": 64,                  # of the matrix factorisation
        "layers": (256, 256, 128, 64),  # of the perceptron; the first is both embeddings together
        "dropout_rate": 0.0,            # open division
        "first_layer": "auto",          # on the "pairs", or on the "tables" before they are gathered; auto: fewer operations
    })
    config.data = ConfigDict({
        "source": "ml-20m",             # ml-20m, ml-1m, ml-100k, tiny (generated), fractal (an expansion of one of them)
        "raw_dir": "",                  # folder of the published file; empty: DATA_DIR/<source>
        "min_ratings": 20,              # users with fewer are left out
        "ties": "random",               # which of a user's last ratings, of the same second, is the test item: random, stable
        "negatives": 4,                 # to each rating, new in every epoch
        "batch_size": 0,
        "fractal": {"base": "ml-20m", "user_factor": 16, "item_factor": 32},
        "expected": {"users": 138_493, "items": 26_744, "train": 19_861_770},
    })
    config.optimizer = ConfigDict({
        "name": "adam",                 # adam, or lazy_adam (rows of the tables that a batch does not use stay as they are)
        "base_learning_rate": 0.0, "beta_1": 0.0, "beta_2": 0.0, "epsilon": 0.0,
        "weight_decay": 0.0,            # adam, open division: decoupled, times the rate
        "average_checkpoints": 0,       # open division: evaluate the mean of the parameters at so many last points
        "average_every_steps": 0,       # distance of those points; 0: an epoch
    })
    config.evaluation = ConfigDict({
        "every_epochs": 1.0,
        "negatives": 999, "seed": 0,    # drawn once a run, with replacement
        "top": 10,
        "batch_size": 2**18,            # users at once
    })
    _recipe(config, 1_048_576)
    if variant == "reference":
        _recipe(config, 2_048)
        config.compute_dtype = "float32"
    elif variant.startswith("batch=") and variant.removeprefix("batch=").isdecimal():
        _recipe(config, int(variant.removeprefix("batch=")))
    elif variant in _VARIANTS:
        config.division = "open"
        config.update(_VARIANTS[variant])
    elif variant:
        raise UserError(f"configs/ncf.py has no variant {variant!r}; there are: batch=N, reference, {', '.join(_VARIANTS)}")
    return config


def _recipe(config: ConfigDict, batch: int) -> None:
    if batch not in _RECIPES:
        raise UserError(f"configs/ncf.py has no recipe for batch {batch}; there are: {', '.join(map(str, _RECIPES))}")
    rate, beta_1, beta_2, epsilon = _RECIPES[batch]
    config.data.batch_size = batch
    config.optimizer.update({"base_learning_rate": rate, "beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon})


_SMALL_MODEL = {"factors": 8, "layers": (64, 32, 16, 8)}
_ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
_VARIANTS = {
    "ml1m": {
        "compute_dtype": "float32",
        "model": _SMALL_MODEL,
        "data": {"source": "ml-1m", "batch_size": 4096, "expected": {"users": 6_040, "items": 3_706, "train": 994_169}},
        "optimizer": {"base_learning_rate": 0.001, **_ADAM},
        "evaluation": {"negatives": 99},
    },
    "ml100k": {
        "quality_target": 0.687,        # DMF (Xue et al. 2017) by the protocol of He et al.
        "max_epochs": 16.0,
        "compute_dtype": "float32",
        "rng_impl": "hash32",
        "model": {"factors": 256, "layers": (128, 64), "dropout_rate": 0.2},
        "data": {"source": "ml-100k", "batch_size": 2048, "expected": {"users": 943, "items": 1_682, "train": 99_057}},
        "optimizer": {"base_learning_rate": 0.001, **_ADAM, "weight_decay": 0.1, "average_checkpoints": 16,
                      "average_every_steps": 60},
        "evaluation": {"negatives": 99},
    },
    "fractal": {
        "max_epochs": 1.0,
        "data": {"source": "fractal", "fractal": {"base": "tiny", "user_factor": 64, "item_factor": 24},
                 "expected": {"users": 130_824, "items": 24_576, "train": 21_831_643}},
    },
    "tiny": {
        "max_epochs": 10.0,
        "compute_dtype": "float32",
        "log_every_steps": 50,
        "model": _SMALL_MODEL,
        "data": {"source": "tiny", "batch_size": 4096, "expected": {"users": 2_048, "items": 1_024, "train": 63_488}},
        "optimizer": {"base_learning_rate": 0.002, **_ADAM},
        "evaluation": {"negatives": 99},
    },
}
