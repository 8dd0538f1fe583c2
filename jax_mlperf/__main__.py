"""python -m jax_mlperf VERB ..."""

import sys

from jax_mlperf.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
