"""Training step of BERT: jax_mlperf against PyTorch.

    python perf/bert_step.py [--size=4layer|large] [--precision=bf16|f32] [--sequences=N] [--sides=NAME,...] [--steps=N]
                             [--rounds=N] [--json]

Generated sequences with the lengths of Wikipedia's (perf/bert_batches.py; no data is needed), dropout 0.1, float32 parameters,
batches on the device. Ours is the benchmark's own step with LAMB: "ours" one sequence a row, "ours-packed" the same sequences in
as few rows as they fit in; "-cudnn": with cuDNN's attention, whose dropout has to be asked for. The peers get one sequence a row,
and fused AdamW with clipping, which is less work: "torch" (perf/peers/torch_bert.py), eager or with torch.compile ("-compile"),
and "huggingface" (perf/peers/hf_bert.py; needs transformers), BertForPreTraining with SDPA attention and torch.compile. First the
forward passes are compared on the same weights, float32. All sides run in this process in turn, round by round; figures are
medians. On a machine that others use, too, compare processor time. Effective samples are sequences, however long. Model FLOPs are
three times those of the forward pass over all slots, padding too, and those of the last layer that no head reads, which ours
does not compute (3 % of the large model's); "of measured" is their share of a bf16 product's rate here.
"""

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the card is shared with PyTorch
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from benchmark_step import median, rounds_of
from bert_batches import SIZES, Batch, Size, make_batch, make_benchmark
from transformer_step import measured_rate

from jax_mlperf.benchmarks.bert import BertBenchmark
from jax_mlperf.models.bert import Packed
from jax_mlperf.models.bert_weights import to_state_dict
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.host_memory import keep_freed_memory

BATCHES = 4  # different batches in rotation
OURS = ("ours", "ours-packed", "ours-cudnn", "ours-packed-cudnn")
PEERS = ("torch", "torch-compile", "huggingface")
Call = Callable[[], Any]


def batches_of(size: Size, name: str) -> list[Batch]:
    """Those of a side, of one shape: packed ones have the rows of the fullest."""
    batches = [make_batch(size, "packed" in name, seed) for seed in range(BATCHES)]
    shapes = {key: tuple(max(batch[key].shape[axis] for batch in batches) for axis in range(array.ndim))
              for key, array in batches[0].items()}
    return [{key: np.pad(array, np.subtract(shapes[key], array.shape).reshape(-1, 1) * [0, 1]) if array.ndim else array
             for key, array in batch.items()} for batch in batches]


def first_key(benchmark: BertBenchmark) -> jax.Array:
    """Raw data of the key that a run starts from."""
    return jax.random.key_data(jax.random.key(0, impl=key_implementation(benchmark.config.rng_impl)))


def our_side(size: Size, name: str, dtype: str, steps: int) -> Call:
    """The benchmark's step, compiled, its state donated."""
    benchmark = make_benchmark(size, dtype, "cudnn" if "cudnn" in name else "auto")
    state, batches = jax.jit(benchmark.init)(first_key(benchmark)), [jax.device_put(batch) for batch in batches_of(size, name)]
    compiled = jax.jit(lambda state, batch: benchmark.train_step(state, batch, ()), donate_argnums=0).lower(
        state, batches[0]).compile()
    holder = [state]

    def run() -> float:
        for index in range(steps):
            holder[0], metrics = compiled(holder[0], batches[index % BATCHES])
        return float(metrics["loss"])

    return run


def make_peer(size: Size, name: str, dropout_rate: float) -> tuple[Any, Any]:
    """(module of the peer, its model)."""
    if name == "huggingface":
        from peers import hf_bert as peer

        make = peer.make_model
    else:
        from peers import torch_bert as peer  # type: ignore[no-redef]

        make = peer.Bert
    return peer, make(size.vocab_size, size.hidden_size, size.num_layers, size.num_heads, size.intermediate_size,
                      size.max_positions, dropout_rate)


def peer_side(size: Size, name: str, dtype: str, steps: int) -> Call:
    """PyTorch's step: forward pass and loss, autograd's backward pass, clipping, fused AdamW."""
    import torch

    torch.set_float32_matmul_precision("high")  # as JAX's default on a GPU
    place = "cuda" if jax.default_backend() == "gpu" else "cpu"
    peer, model = make_peer(size, name, size.dropout_rate)
    model = model.to(place).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, eps=1e-6, fused=True)
    tensors = [{key: tensor.to(place) for key, tensor in (
        peer.inputs_of(batch) if name == "huggingface" else {key: torch.from_numpy(np.asarray(batch[key])) for key in batch}
    ).items()} for batch in batches_of(size, name)]

    def loss_of(batch: Mapping[str, Any]) -> Any:
        with torch.autocast(place, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            if name == "huggingface":
                return model(**batch).loss
            return peer.loss_of(*model(batch), batch)

    compiled = loss_of if name == "torch" else torch.compile(loss_of)

    def run() -> float:
        for index in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = compiled(tensors[index % BATCHES])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return loss.item()

    return run


def largest_difference(size: Size, name: str) -> float:
    """Of the logits of both heads on two sequences and the same weights, float32, without dropout; at the real predictions."""
    import torch

    torch.set_float32_matmul_precision("highest")
    size = dataclasses.replace(size, sequences=2, dropout_rate=0.0)
    batch = make_batch(size, packed=False, seed=0)
    benchmark = make_benchmark(size, "float32")
    params = jax.jit(benchmark.init)(first_key(benchmark)).params
    # So that biases and norms count, too.
    params = jax.tree.map(lambda leaf: leaf + 0.02 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)
    with jax.default_matmul_precision("highest"):
        ours = jax.jit(lambda params, rows: benchmark.network.bound(params, {})(rows))(
            params, Packed(**{key: batch[key] for key in Packed._fields}))
    peer, model = make_peer(size, name, 0.0)
    peer.load_parameters(model, to_state_dict(params, "torch"))
    model = model.to("cuda" if jax.default_backend() == "gpu" else "cpu").eval()
    with torch.no_grad():
        if name == "huggingface":
            theirs = peer.logits_of(model, batch)
        else:
            theirs = model({key: torch.from_numpy(np.asarray(batch[key])).to(next(model.parameters()).device) for key in batch})
    real = batch["masked_lm_weights"] > 0
    return max(float(np.abs(np.asarray(ours.masked_lm_logits)[real] - theirs[0].cpu().numpy()[real]).max()),
               float(np.abs(np.asarray(ours.next_sentence_logits)[:, 0] - theirs[1].cpu().numpy()).max()))


def step_flops(size: Size, batch: Batch) -> int:
    """Model FLOPs of one training step on these rows: three times the forward pass."""
    return 3 * make_benchmark(size, "float32").forward_flops(batch)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one size."""
    size = SIZES[arguments.size]
    size = dataclasses.replace(size, sequences=arguments.sequences or size.sequences)
    dtype = "bfloat16" if arguments.precision == "bf16" else "float32"
    needed = {"huggingface": "transformers", "torch": "torch", "torch-compile": "torch"}
    names = [name for name in arguments.sides if name in OURS or importlib.util.find_spec(needed[name]) is not None]
    differences = {name: largest_difference(size, name) for name in names if name in PEERS and name != "torch-compile"}
    rate = measured_rate() if jax.default_backend() == "gpu" else None
    sides: dict[str, Call] = {}
    for name in names:
        make = our_side if name in OURS else peer_side
        sides[name] = make(size, name, dtype, arguments.steps)
        print(f"{name}: warm, loss {sides[name]():.3f}", file=sys.stderr)
    rows = []
    for name, values in rounds_of(sides, arguments.rounds).items():
        seconds, batch = median(values), batches_of(size, name)[0]
        flops = step_flops(size, batch) * arguments.steps / seconds.wall
        rows.append({"side": name, "rows": len(batch["input_ids"]), "step_ms": 1e3 * seconds.wall / arguments.steps,
                     "fastest_ms": 1e3 * min(value.wall for value in values) / arguments.steps,
                     "processor_ms": 1e3 * seconds.processor / arguments.steps,
                     "samples_per_sec": size.sequences * arguments.steps / seconds.wall, "tflops": flops / 1e12,
                     "of_measured": flops / rate if rate else None})
    for key in ("step_ms", "processor_ms"):
        best = min((row[key] for row in rows if row["side"] in PEERS), default=None)
        for row in rows:
            row["of_peer_" + key] = best / row[key] if best else None
    return {"size": arguments.size, "precision": dtype, "device": jax.devices()[0].device_kind, "cores": os.cpu_count(),
            "load": os.getloadavg()[0], "sequences": size.sequences, "slots": size.slots, "differences": differences,
            "measured_tflops": rate and rate / 1e12, "results": rows}


def report(facts: dict[str, Any]) -> str:
    """The table."""
    rate = facts["measured_tflops"]
    lines = [f"{facts['size']}, {facts['sequences']} sequences of up to {facts['slots']} slots, {facts['precision']}, "
             f"{facts['device']}, {facts['cores']} cores, load {facts['load']:.1f}"
             + (f", measured bf16 rate {rate:.0f} TFLOP/s" if rate else "")]
    lines += [f"largest difference of the logits from {name}, float32: {value:.1e}"
              for name, value in facts["differences"].items()]
    lines.append(f"{'':18}{'rows':>6}{'ms/step':>10}{'fastest':>10}{'processor':>11}{'samples/s':>11}{'TFLOP/s':>9}"
                 f"{'of measured':>13}{'of best PyTorch':>17}{'by processor':>14}")
    for row in facts["results"]:
        share = f"{row['of_measured']:.1%}" if row["of_measured"] else "-"
        wall, processor = (f"{row[key]:.2f}" if row[key] else "-" for key in ("of_peer_step_ms", "of_peer_processor_ms"))
        lines.append(f"{row['side']:18}{row['rows']:6}{row['step_ms']:10.2f}{row['fastest_ms']:10.2f}{row['processor_ms']:11.2f}"
                     f"{row['samples_per_sec']:11,.1f}{row['tflops']:9.3f}{share:>13}{wall:>17}{processor:>14}")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    sides = ["ours", "ours-packed", *(["huggingface"] if has_gpu else ["torch-compile", "torch"])]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="large" if has_gpu else "4layer")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16" if has_gpu else "f32")
    parser.add_argument("--sequences", type=int, help="of a batch, in place of the size's")
    parser.add_argument("--sides", type=functools.partial(str.split, sep=","), default=sides,
                        help=f"of {', '.join((*OURS, *PEERS))}")
    parser.add_argument("--steps", type=int, default=8 if has_gpu else 2, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=7 if has_gpu else 5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.sides) - set(OURS) - set(PEERS):
        parser.error(f"--sides: {', '.join(sorted(unknown))} is none of {', '.join((*OURS, *PEERS))}")
    if not has_gpu:
        keep_freed_memory()  # as run.py does on the CPU; for all sides
    facts = measure(arguments)
    print(json.dumps(facts, indent=2) if arguments.json else report(facts))


if __name__ == "__main__":
    main()
