"""Speed of encoding and packing parallel text.

    python perf/prepare.py SOURCE TARGET --vocabulary=FILE [--repeat=N] [--workers=N] [--json]

SOURCE and TARGET are text files, one sentence a line. They are read `repeat` times over, encoded by all workers with the given
vocabulary, written as `data prepare` writes them, and packed into rows of 256 + 256. Prints pairs per second of both parts and
what that makes for WMT17's 4,590,101 pairs.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from jax_mlperf.data import packing, records
from jax_mlperf.data.encoding import encode_files

WMT_PAIRS = 4_590_101
ROOM, MAX_LENGTH = 256, 80


def main() -> None:
    """Measures once and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--vocabulary", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    vocab_size = sum(1 for _ in flags.vocabulary.open(encoding="utf-8"))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        lengths = [records.write_sequences(Path(folder) / path.suffix[1:],
                                           encode_files([path] * flags.repeat, flags.vocabulary, flags.workers), vocab_size)
                   for path in (flags.source, flags.target)]
    encoded = time.perf_counter()
    kept = np.flatnonzero(np.maximum(*lengths) <= MAX_LENGTH)
    source, target = lengths[0][kept], lengths[1][kept]
    packed = packing.balanced(source, target, ROOM, ROOM)
    end = time.perf_counter()
    pairs = len(lengths[0])
    figures = {
        "pairs": pairs,
        "encode_pairs_per_second": pairs / (encoded - start),
        "pack_pairs_per_second": len(kept) / (end - encoded),
        "useful_tokens": packing.efficiency(packed, source, target, ROOM, ROOM),
        "wmt_minutes": WMT_PAIRS / pairs * (end - start) / 60,
    }
    print(json.dumps(figures) if flags.json else "\n".join(f"{key}: {value:,.4g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
