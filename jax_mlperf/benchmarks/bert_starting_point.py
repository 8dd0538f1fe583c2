"""The weights that BERT's training starts from, out of a file or out of a work folder of ours."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from jax_mlperf.checkpoint import Checkpoints
from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_names import Tensor, tensors
from jax_mlperf.models.bert_weights import from_state_dict, nested, to_state_dict
from jax_mlperf.models.tf_checkpoint import is_checkpoint, read_checkpoint
from jax_mlperf.state_dict import read_state_dict
from jax_mlperf.types import PyTree
from jax_mlperf.workdir import Workdir

_FILES = (".safetensors", ".npz")
_RUN = re.compile(r"run_(\d+)")


def weights_present(path: Path) -> bool:
    """Whether `path` is something that `read_weights` may read: a file of weights, a TF1 checkpoint or a work folder."""
    if path.suffix in _FILES:
        return path.is_file()
    return is_checkpoint(path) or (_workdir(path) / "config.json").is_file()


def read_weights(reference: Path, params: PyTree) -> PyTree:
    """The parameters of a `Bert` from a file or folder.

    Args:
      reference: a .safetensors or .npz file with PyTorch's or TF1's names; a TF1 checkpoint (the path without ".index"); or
        WORKDIR or WORKDIR/run_N of our own: the newest checkpoint of that run, or of the first run that has one.
      params: nested dict of the model's arrays or of their shapes.

    Returns:
      nested dict of float32 numpy arrays, whole on every process.

    Raises:
      UserError: nothing is there, it is damaged, or it is not of this model; see `from_state_dict`.
    """
    if reference.suffix in _FILES:
        return from_state_dict(read_state_dict(reference), params, str(reference))
    if reference.is_dir():
        return from_state_dict(_of_workdir(reference), params, f"the network of {reference}")
    if is_checkpoint(reference):
        return from_state_dict(read_checkpoint(reference), params, str(reference))
    without = reference.with_suffix("")
    hint = f"the prefix {without}" if is_checkpoint(without) else \
        "a TF1 checkpoint (the path without .index), a .safetensors or .npz file, or a work folder of bert"
    raise UserError(f"no weights at {reference}: give {hint}")


def _of_workdir(folder: Path) -> dict[str, np.ndarray]:
    """The network of a work folder with TF1's names."""
    inside = sorted([path.with_suffix("") for path in folder.glob("*.index")] + [*folder.glob("*.safetensors")])
    if inside and not _RUN.fullmatch(folder.name) and not (folder / "run_0").is_dir():
        raise UserError(f"{folder} is no work folder, but holds weights: give {inside[0]}")
    config = Workdir(_workdir(folder)).recorded_config()
    benchmark = config.get("benchmark") if isinstance(config, dict) else None
    if benchmark != "bert":
        raise UserError(f"{folder} is a work folder of {benchmark!r}, not of bert")
    checkpoint = _newest_checkpoint(folder)
    try:
        return to_state_dict(_restored_params(checkpoint / "state", config["model"]["num_layers"]), "tf1")
    except (KeyError, ValueError, TypeError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the checkpoint {checkpoint} is damaged, or not of bert: {reason}") from error


def _newest_checkpoint(folder: Path) -> Path:
    """The newest whole checkpoint of the run that the folder is, or of the first run in it that has one."""
    runs = [folder] if _RUN.fullmatch(folder.name) else sorted(
        (path for path in folder.iterdir() if _RUN.fullmatch(path.name)), key=lambda path: int(path.name.removeprefix("run_")))
    for run in runs:
        if not (run / "checkpoints").is_dir():
            continue
        checkpoints = Checkpoints(run / "checkpoints", keep=1, read_only=True)
        newest = checkpoints.latest_step()
        checkpoints.close()
        if newest is not None:
            return run / "checkpoints" / str(newest)
    raise UserError(f"{folder} has no whole checkpoint; train with run.py until the first evaluation")


def _restored_params(folder: Path, num_layers: int) -> PyTree:
    """The parameters of a checkpoint as arrays of the host, without the optimizer's moments, which are twice their size."""
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns that shardings were not given
    checkpointer = ocp.PyTreeCheckpointer()

    def restored(named: Iterable[Tensor]) -> PyTree:
        item = nested((("params", *tensor.path), 0) for tensor in named)
        hosts = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
        restore = ocp.args.PyTreeRestore(item=item, restore_args=hosts, partial_restore=True)
        return checkpointer.restore(folder.absolute(), args=restore)["params"]

    restored(tensors(num_layers)[-1:])  # many reads that fail at once would leave their tracebacks behind
    return restored(tensors(num_layers))


def _workdir(folder: Path) -> Path:
    return folder.parent if _RUN.fullmatch(folder.name) else folder
