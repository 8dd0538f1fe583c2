"""Time to translate 3,003 sentences of newstest2014's lengths by beam search (beam 4, alpha 0.6, 147 slots).

    python perf/beam_search.py [--size=tiny|multi30k|base|big] [--batches=256,1024] [--sentences=N] [--json]

Source lengths are drawn from a gamma distribution with newstest2014.en's mean (28.0 subtokens with EOS) and
maximum (97); sentences are sorted longest first and padded to 97, as in the benchmark's evaluation. Random
weights never choose to end, so the row "realistic" forces EOS: its logit is lowered before, and raised at, a
length drawn for each sentence around 29.5/28.0 of its source length. All else is the evaluation's own code; a
batch stops as its last sentence ends. The row "full" lets no sentence end: all 147 steps, the upper bound.
Times are from token ids on the host to ids on the host, after compilation; the median of --repeats.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import translation
from flax import nnx
from translation import SIZES, Size

from jax_mlperf.models.transformer_decoding import decode_step, init_cache, read_source, with_cast_kernels
from jax_mlperf.ops.beam_search import EOS, Cache, beam_search

# newstest2014 encoded with the published vocabulary; the search of the reference's model/model_params.py
# (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`).
SOURCE_MEAN, TARGET_MEAN, LONGEST, EXTRA = 28.0, 29.48, 97, 50
BEAMS, ALPHA = 4, 0.6
MAX_LENGTH = LONGEST + EXTRA


def draw_sentences(count: int, vocab: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sources int32 [count, 97], longest first, and the lengths [count] at which translations shall end."""
    rng = np.random.default_rng(seed)
    lengths = np.clip(np.rint(rng.gamma(4.0, SOURCE_MEAN / 4.0, count)), 2, LONGEST).astype(np.int32)
    lengths[0] = LONGEST
    lengths = np.sort(lengths)[::-1]
    ids = rng.integers(2, vocab, (count, LONGEST), dtype=np.int32)
    slots = np.arange(LONGEST)
    ids = np.where(slots < lengths[:, None] - 1, ids, np.where(slots == lengths[:, None] - 1, EOS, 0))
    targets = lengths * (TARGET_MEAN / SOURCE_MEAN) * rng.normal(1.0, 0.1, count)
    return ids.astype(np.int32), np.clip(np.rint(targets), 2, MAX_LENGTH).astype(np.int32)


def make_search(size: Size, dtype: Any) -> tuple[Callable[..., Any], Any]:
    """(search, params): jitted (params, sources, lengths) -> best hypotheses int32 [B, 147]."""
    graph, params = nnx.split(nnx.jit(lambda: translation.make_model(size, dtype))())

    @jax.jit
    def search(params: Any, sources: jax.Array, lengths: jax.Array) -> jax.Array:
        model = with_cast_kernels(nnx.merge(graph, params))
        source = read_source(model, sources)

        def decode(ids: jax.Array, cache: Cache, index: jax.Array) -> tuple[jax.Array, Cache]:
            logits, cache = decode_step(model, source, ids, cache, index)
            push = jnp.where(index + 1 < lengths, -100.0, 100.0)[:, None, None]
            return logits + push * (jnp.arange(logits.shape[-1]) == EOS), cache

        cache = init_cache(model, len(sources), BEAMS, MAX_LENGTH)
        result = beam_search(
            decode, cache, batch=len(sources), beams=BEAMS, max_length=MAX_LENGTH, alpha=ALPHA
        )
        return result.ids[:, 0]

    return search, params


def translate_all(search: Callable[..., Any], params: Any, sources: np.ndarray, lengths: np.ndarray,
                  batch: int) -> np.ndarray:  # fmt: skip
    """All sentences in batches of one shape, the last one filled up with repeats."""
    order = np.minimum(np.arange(-(-len(sources) // batch) * batch), len(sources) - 1)
    outputs = [search(params, sources[rows], lengths[rows]) for rows in order.reshape(-1, batch)]
    return np.concatenate([np.asarray(output) for output in outputs])[: len(sources)]


def measure(size: Size, batch: int, sentences: int, repeats: int, dtype: Any) -> list[dict[str, Any]]:
    """Seconds for all sentences, with realistic and with full lengths."""
    sources, lengths = draw_sentences(sentences, size.vocab_size)
    search, params = make_search(size, dtype)
    rows = []
    for name, ends in (("realistic", lengths), ("full", np.full_like(lengths, MAX_LENGTH + 1))):
        ids = translate_all(search, params, sources, ends, batch)  # compiles, and warms up
        if name == "realistic":
            produced = np.argmax(ids == EOS, axis=1) + 1
            assert (produced == lengths).all(), "hypotheses do not end where they were told to"
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            translate_all(search, params, sources, ends, batch)
            times.append(time.perf_counter() - start)
        seconds = statistics.median(times)
        rows.append({"lengths": name, "batch": batch, "seconds": seconds,
                     "sentences_per_sec": sentences / seconds})  # fmt: skip
    return rows


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="big" if has_gpu else "tiny")
    parser.add_argument("--batches", default="256,512,1024" if has_gpu else "64,256")
    parser.add_argument("--sentences", type=int, default=3003)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    dtype = jnp.dtype(jnp.bfloat16 if has_gpu else jnp.float32)
    rows = []
    for batch in arguments.batches.split(","):
        rows += measure(SIZES[arguments.size], int(batch), arguments.sentences, arguments.repeats, dtype)
    device = jax.devices()[0].device_kind
    facts = {"size": arguments.size, "device": device, "dtype": dtype.name, "sentences": arguments.sentences}
    if arguments.json:
        print(json.dumps(facts | {"results": rows}, indent=2))
        return
    print(f"{arguments.size}, {dtype.name}, {device}: {arguments.sentences} sentences")
    print(f"{'lengths':12}{'batch':>8}{'seconds':>10}{'sentences/s':>14}")
    for row in rows:
        print(f"{row['lengths']:12}{row['batch']:8}{row['seconds']:10.2f}{row['sentences_per_sec']:14,.0f}")


if __name__ == "__main__":
    main()
