"""MLPerf's system description: what the runs recorded of their machine, and what only a person can tell.

Fields: submission_rules.adoc and system_desc_checker.py of mlperf_logging. All values are strings.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.system.environment import LATER

# Field -> an example of what to write.
FIELDS = {
    "submitter": "my-university", "division": "closed", "status": "Available on-premise", "system_name": "2xH200",
    "number_of_nodes": "1", "host_processors_per_node": "2",
    "host_processor_model_name": "Intel Xeon Platinum 8480C", "host_processor_core_count": "56",
    "host_processor_vcpu_count": "112", "host_processor_frequency": "3.80 GHz",
    "host_processor_caches": "L1d 48K, L1i 32K, L2 2048K, L3 107520K", "host_processor_interconnect": "UPI, 3 links",
    "host_memory_capacity": "2048 GiB", "host_storage_type": "NVMe SSD", "host_storage_capacity": "2x 3.84 TB",
    "host_networking": "8x InfiniBand 400 Gb/s", "host_networking_topology": "fat tree",
    "host_memory_configuration": "32x 64 GB DDR5-4800", "accelerators_per_node": "8",
    "accelerator_model_name": "NVIDIA H200", "accelerator_host_interconnect": "PCIe Gen5 x16",
    "accelerator_frequency": "1980 MHz", "accelerator_on-chip_memories": "50 MB L2 cache",
    "accelerator_memory_configuration": "HBM3e", "accelerator_memory_capacity": "143771 MiB",
    "accelerator_interconnect": "NVLink, 18 links", "accelerator_interconnect_topology": "all to all through NVSwitch",
    "cooling": "air", "hw_notes": "", "framework": "JAX 0.10.2", "other_software_stack": "CUDA 12.8, cuDNN 9.8, NCCL 2.26",
    "operating_system": "Ubuntu 24.04 LTS", "sw_notes": "",
}
# From ruleset 4.0.0 on the checker wants the long names; the logs keep the short ones.
STATUSES = {"onprem": "Available on-premise", "cloud": "Available cloud", "preview": "Preview",
            "research": "Research, Development, or Internal (RDI)"}

_LEAST = {"number_of_nodes": 1, "host_processors_per_node": 1, "accelerators_per_node": 0}
_NOT_EMPTY = ("number_of_nodes", "host_processors_per_node", "host_processor_model_name", "accelerators_per_node",
              "accelerator_model_name", "host_memory_capacity", "framework", "operating_system")
_FROM_THE_LOGS = ("submitter", "division", "system_name")
_NONE = "N/A"


def parse_settings(pairs: Sequence[str], file: Path | None = None) -> dict[str, str]:
    """Fields that the user gives: `key=value` texts, and a JSON file whose values they replace.

    A value that a template left open, "<...>", is not given.

    Raises:
      UserError: no such field (the nearest is named), a text without "=", a file that is no JSON object of texts and numbers.
    """
    given: dict[str, str] = {}
    for key, value in (_read_file(file) if file else {}).items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UserError(f"{file}: {key} is {json.dumps(value)[:60]}, must be text or a number")
        given[key] = str(value).strip()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"--set {pair} has no value; write --set key=value, for example --set cooling=air")
        given[key.strip()] = value.strip()
    for key in given:
        if key not in FIELDS:
            near = difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.0)[0]
            raise UserError(f"the system description has no field {key!r}; the nearest is {near!r}")
    return {key: value for key, value in given.items() if not (value.startswith("<") and value.endswith(">"))}


def detected(sets: Sequence[ResultSet]) -> dict[str, str]:
    """What the environment.json files of the work folders tell, by field; machines that differ leave a field out."""
    return {field: next(iter(values)) for field, values in _told(sets).items() if len(values) == 1}


def _told(sets: Sequence[ResultSet]) -> dict[str, dict[str, None]]:
    """Field -> all that the records say of it, in their order."""
    told: dict[str, dict[str, None]] = {}
    for result_set in sets:
        record = result_set.records.get("environment")
        for field, text in _fields(record).items() if isinstance(record, dict) else ():
            told.setdefault(field, {}).update(dict.fromkeys(text.split(LATER)))
    return told


def system_description(sets: Sequence[ResultSet], given: Mapping[str, str], *, org: str, system: str,
                       ruleset: str) -> dict[str, str]:
    """The description, in the order of FIELDS; what the user gives goes before what was detected.

    Raises:
      UserError: fields that nobody told (all of them, with examples), a number that is none, a status that is none, or logs
        that disagree about division or status.
    """
    fixed = {"submitter": org, "system_name": system, "division": _one_fact(sets, "submission_division", ("closed", "open"))}
    for field, value in fixed.items():
        if given.get(field, value) != value:
            raise UserError(f"{field} is {value!r} by the logs and flags; {given[field]!r} was given for it: leave it out")
    facts = {**detected(sets), **given, **fixed, "status": _status(sets, given, ruleset)}
    for field, least in _LEAST.items():
        number = facts.get(field, "")
        if number and (not number.isdecimal() or int(number) < least):
            raise UserError(f"{field} is {number!r}, must be a whole number of at least {least}")
    facts = {**_consequences(facts), **facts}
    missing = [field for field in FIELDS if field not in facts or (field in _NOT_EMPTY and not facts[field])]
    if missing:
        raise UserError(_asking(missing, _told(sets)))
    return {field: facts[field] for field in FIELDS}


def write_template(path: Path, sets: Sequence[ResultSet], given: Mapping[str, str]) -> int:
    """Writes a JSON file for `--system_file`: what is known is filled in, the rest is "<for example: ...>".

    Returns:
      The number of fields that are left to fill in.
    Raises:
      UserError: the file exists already, or cannot be written.
    """
    known = {**detected(sets), **given}
    known = {**_consequences(known), **known}
    logged = (*_FROM_THE_LOGS, "status") if _have_status(sets) else _FROM_THE_LOGS
    left = [field for field in FIELDS if field not in known and field not in logged]
    content = {field: known.get(field, f"<for example: {FIELDS[field]}>") for field in FIELDS if field in known or field in left}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1) + "\n")
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name for the template") from None
    except OSError as error:
        if path.is_file():  # it is ours, and not whole
            path.unlink()
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return len(left)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--system_file={path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"--system_file={path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"--system_file={path} holds no JSON object; make one to fill in with: submit ... --template FILE")
    return content


def _fields(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields that one environment tells: its own, and those that are put together from versions."""
    facts = {str(name): value for name, value in record.items() if isinstance(value, str) and value}
    fields = {name: value for name, value in facts.items() if name in FIELDS}
    if "jax" in facts:
        fields["framework"] = f"JAX {facts['jax']}" + (f", Flax {facts['flax']}" if "flax" in facts else "")
    names = {"jaxlib": "jaxlib", "optax": "Optax", "orbax": "Orbax", "numpy": "NumPy", "python": "Python",
             "nvidia_driver": "NVIDIA driver", "cuda_runtime": "CUDA runtime", "cudnn": "cuDNN", "nccl": "NCCL",
             "libtpu": "libtpu", "kernel": "kernel"}
    stack = [f"{label} {facts[name]}" for name, label in names.items() if name in facts]
    return {**fields, **({"other_software_stack": ", ".join(stack)} if stack else {})}


def _consequences(facts: Mapping[str, str]) -> dict[str, str]:
    """What follows from the numbers: a part that is there once has no connection to others of its kind."""
    values = {"hw_notes": "", "sw_notes": ""}
    if facts.get("host_processors_per_node") == "1":
        values["host_processor_interconnect"] = f"{_NONE} (one processor)"
    if facts.get("number_of_nodes") == "1":
        values |= dict.fromkeys(("host_networking", "host_networking_topology"), f"{_NONE} (one node)")
    if facts.get("accelerators_per_node") == "1":
        values |= dict.fromkeys(("accelerator_interconnect", "accelerator_interconnect_topology"), f"{_NONE} (one accelerator)")
    if facts.get("accelerators_per_node") == "0":
        values |= dict.fromkeys((field for field in FIELDS if field.startswith("accelerator_")), _NONE)
    return values


def _one_fact(sets: Sequence[ResultSet], key: str, allowed: Sequence[str]) -> str:
    values = {str(run.facts.get(key)): run.path for result_set in sets for run in result_set.runs}
    for value, path in values.items():
        if value not in allowed:
            raise UserError(f"{path}: {key} is {value}, must be one of {', '.join(allowed)}")
    if len(values) > 1:
        (first, one), (second, other), *_ = values.items()
        raise UserError(f"one submission has one {key}: it is {first} in {one} and {second} in {other}")
    return next(iter(values))


def _status(sets: Sequence[ResultSet], given: Mapping[str, str], ruleset: str) -> str:
    """The status in the form of the ruleset: from the logs, or given where they have none."""
    wanted = given.get("status", "")
    short = {long: name for name, long in STATUSES.items()}.get(wanted, wanted)
    if wanted and short not in STATUSES:
        raise UserError(f"status is {wanted!r}, must be one of {', '.join(STATUSES)}")
    if _have_status(sets):
        logged = _one_fact(sets, "submission_status", tuple(STATUSES))
        if short and short != logged:
            raise UserError(f"status {wanted!r} was given, but submission_status is {logged} in the logs: leave it out")
        short = logged
    if not short:
        raise UserError(_asking(["status"], {}))
    return STATUSES[short] if int(ruleset.split(".")[0]) >= 4 else short


def _have_status(sets: Sequence[ResultSet]) -> bool:
    return any("submission_status" in run.facts for result_set in sets for run in result_set.runs)


def _asking(missing: Sequence[str], told: Mapping[str, Mapping[str, None]]) -> str:
    differ = {field: f"   (the runs differ: {' / '.join(told[field])})" for field in missing if field in told}
    return "\n".join([f"the system description lacks {len(missing)} of its fields, which nothing tells; give each, for example:",
                      *(f"  --set {field}={_quoted(FIELDS[field])}{differ.get(field, '')}" for field in missing),
                      "or all in a file: --template system.json writes one to fill in, --system_file system.json reads it"])


def _quoted(text: str) -> str:
    return f"'{text}'" if " " in text else text
