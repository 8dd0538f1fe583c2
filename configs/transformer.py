"""Transformer big, WMT17 English-German, to 25.0 BLEU (uncased, newstest2014): MLPerf Training v0.7, closed division.

    python run.py --config=configs/transformer.py

Recipe: 512 packed rows of 256 + 256 tokens, Google's of v0.7 (10 runs: 3 or 4 epochs). Variants, all open division:
  :base          Transformer base, same data (the reference's README: 20.5 BLEU after 10 epochs)
  :multi30k      real text: Multi30k, or any folder of parallel text by --config.data.raw_dir=FOLDER; for a GPU
  :multi30k_cpu  the same text on two CPU cores: 37 BLEU in an hour
  :tiny          data that the program generates; two CPU cores, under a minute to 80 BLEU
"""

from ml_collections import ConfigDict

from jax_mlperf.config import base_config
from jax_mlperf.errors import UserError


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: the closed benchmark and what differs from it."""
    config = base_config()
    config.benchmark = "transformer"
    config.quality_target = 25.0        # BLEU, uncased
    config.max_epochs = 10.0
    config.label_smoothing = 0.1
    config.microbatch_per_device = 64
    config.model = ConfigDict({
        "vocab_size": 33_708, "d_model": 1024, "ffn_dim": 4096, "num_heads": 16, "num_layers": 6,
        "dropout_rate": 0.1, "attention_implementation": "auto",
    })
    config.data = ConfigDict({
        "source": "wmt",                # wmt (WMT17), multi30k (or any folder of parallel text), tiny (generated)
        "raw_dir": "",                  # multi30k: folder with train.en, train.de, ...; empty: the downloaded files
        "vocab_target_size": 0,         # size of the vocabulary to build from the text; 0: the published vocabulary
        "batching": "packed",           # packed: fixed rows of several sentences; bucketed: sentences of like length
        "batch_size": 512,              # packed: rows; bucketed: tokens of one side
        "source_length": 256, "target_length": 256,
        "max_sequence_length": 80,      # longer pairs are discarded from training (EOS included)
        "bucket_growth": 1.1,
        # What describe and plan go by until the data are prepared (rows: Google's packing of v0.7).
        "expected": {"pairs": 4_590_101, "rows": 566_340, "eval_sentences": 3003, "eval_source_length": 97},
    })
    config.optimizer = ConfigDict({
        "name": "adam", "base_learning_rate": 1.875, "warmup_steps": 1107, "beta_1": 0.9, "beta_2": 0.98,
        "epsilon": 1e-9,
        "average_checkpoints": 0,       # open division: evaluate the mean of the parameters at so many last points
        "average_every_steps": 0,       # distance of those points; 0: an epoch
    })
    config.evaluation = ConfigDict({
        "every_steps": 0,               # 0: every epoch
        "batch_size": 256, "beam_size": 4, "alpha": 0.6, "extra_length": 50,
    })
    if variant:
        if variant not in _VARIANTS:
            raise UserError(f"configs/transformer.py has no variant {variant!r}; there are: {', '.join(_VARIANTS)}")
        config.division = "open"
        config.rng_impl = "hash32"
        config.update(_VARIANTS[variant])
    return config


_VARIANTS = {
    "base": {
        "model": {"d_model": 512, "ffn_dim": 2048, "num_heads": 8},
        "quality_target": 20.0,
        "optimizer": {"base_learning_rate": 2.0, "warmup_steps": 4000},
    },
    "multi30k": {
        "quality_target": 35.0,
        "max_epochs": 60.0,
        "model": {"vocab_size": 8079, "d_model": 256, "ffn_dim": 1024, "num_heads": 4, "num_layers": 4, "dropout_rate": 0.3},
        "data": {"source": "multi30k", "vocab_target_size": 8192, "batch_size": 32, "source_length": 128, "target_length": 128,
                 "max_sequence_length": 64,
                 "expected": {"pairs": 29_000, "rows": 3_800, "eval_sentences": 1000, "eval_source_length": 48}},
        "optimizer": {"base_learning_rate": 1.0, "warmup_steps": 1000, "average_checkpoints": 10},
        "evaluation": {"batch_size": 128},
    },
    # What two CPU cores can do in an hour: smaller than :multi30k, which is meant for a GPU.
    "multi30k_cpu": {
        "quality_target": 35.0,
        "max_epochs": 30.0,
        "compute_dtype": "float32",
        "model": {"vocab_size": 4121, "d_model": 128, "ffn_dim": 512, "num_heads": 4, "num_layers": 3, "dropout_rate": 0.1},
        "data": {"source": "multi30k", "vocab_target_size": 4096, "batch_size": 8, "source_length": 128, "target_length": 128,
                 "max_sequence_length": 64,
                 "expected": {"pairs": 29_000, "rows": 4_000, "eval_sentences": 1000, "eval_source_length": 48}},
        "optimizer": {"base_learning_rate": 0.64, "warmup_steps": 800, "average_checkpoints": 4},
        "evaluation": {"batch_size": 100},
    },
    "tiny": {
        "quality_target": 80.0,
        "max_epochs": 30.0,
        "compute_dtype": "float32",
        "microbatch_per_device": 0,
        "log_every_steps": 20,
        "model": {"vocab_size": 401, "d_model": 128, "ffn_dim": 256, "num_heads": 4, "num_layers": 2, "dropout_rate": 0.0},
        "data": {"source": "tiny", "vocab_target_size": 400, "batch_size": 32, "source_length": 64, "target_length": 52,
                 "max_sequence_length": 32,
                 "expected": {"pairs": 12_000, "rows": 2_400, "eval_sentences": 256, "eval_source_length": 21}},
        "optimizer": {"base_learning_rate": 1.0, "warmup_steps": 200},
        "evaluation": {"batch_size": 128, "extra_length": 16},
    },
}
