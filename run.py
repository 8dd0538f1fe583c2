"""Trains a benchmark to its quality target: python run.py --config=configs/transformer.py[:VARIANT] [--config.KEY=VALUE].

Exit status: 0 the target was reached (or the time budget used as asked, or a SIGTERM saved the run), 2 a mistake in the
config, the data or the environment, 3 training ended without reaching the target.
"""

import sys

from jax_mlperf.launch import main

if __name__ == "__main__":
    main(sys.argv[1:])
