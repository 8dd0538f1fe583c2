"""What the operating system tells about a host: processors, memory, storage, network. No names or addresses of anything."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

# "CPU implementer" and "CPU part" of /proc/cpuinfo on Arm, which has no model name there (Arm's MIDR_EL1 register).
_ARM_CORES = {("0x41", "0xd0c"): "Arm Neoverse-N1", ("0x41", "0xd40"): "Arm Neoverse-V1",
              ("0x41", "0xd49"): "Arm Neoverse-N2", ("0x41", "0xd4f"): "Arm Neoverse-V2"}
_NETWORK_FILE_SYSTEMS = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "cifs", "smb", "glusterfs", "fuse.", "9p", "virtiofs")


class _Thread(NamedTuple):
    """Where a hardware thread sits."""

    processor: str
    core: str


def processors(proc: Path, sys: Path) -> dict[str, str]:
    """Model, number, cores, threads, clock and caches of the processors; cores and threads are those of ONE processor.

    Args:
      proc, sys: the folders /proc and /sys. What they do not tell is left out.
    """
    blocks = _cpuinfo(proc)
    threads = _topology(sys) or [_Thread(block.get("physical id", "0"), block.get("core id", block.get("processor", "")))
                                 for block in blocks if "processor" in block]
    facts = {"host_processor_model_name": _model(blocks), "host_processor_frequency": _frequency(blocks, sys),
             "host_processor_caches": _caches(sys)}
    if threads:
        count = len({thread.processor for thread in threads})
        facts["host_processors_per_node"] = str(count)
        facts["host_processor_core_count"] = str(len(set(threads)) // count)
        facts["host_processor_vcpu_count"] = str(len(threads) // count)
    return {name: value for name, value in facts.items() if value}


def memory(proc: Path) -> dict[str, str]:
    """The memory's size."""
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(proc / "meminfo"), re.MULTILINE)
    return {"host_memory_capacity": f"{round(int(match[1]) / 2**20)} GiB"} if match else {}


def storage(folder: Path, proc: Path, sys: Path) -> dict[str, str]:
    """Kind and size of the file system that a folder is in; the kind is left out where a container hides it."""
    folder = next((path for path in (folder, *folder.parents) if path.is_dir()), Path("/"))
    kind = _storage_kind(folder.resolve(), proc, sys)
    try:
        size = shutil.disk_usage(folder).total
    except OSError:
        size = 0
    facts = {"host_storage_type": kind,
             "host_storage_capacity": "" if not size else f"{size / 1e12:.2f} TB" if size >= 1e12 else f"{size / 1e9:.0f} GB"}
    return {name: value for name, value in facts.items() if value}


def networking(sys: Path) -> dict[str, str]:
    """InfiniBand and Ethernet adapters with a link: how many of which rate."""
    found: Counter[str] = Counter()
    for port in sorted((sys / "class" / "infiniband").glob("*/ports/*")):
        if "ACTIVE" in _text(port / "state"):
            found[f"{_text(port / 'link_layer') or 'InfiniBand'} {_text(port / 'rate')}".strip()] += 1
    for interface in sorted((sys / "class" / "net").glob("*")):
        speed = _text(interface / "speed")
        if not found and (interface / "device").exists() and speed.isdecimal() and int(speed) > 0:
            found[f"Ethernet {int(speed) / 1000:g} Gb/sec"] += 1
    return {"host_networking": ", ".join(f"{count} x {name}" for name, count in found.items())} if found else {}


def operating_system(etc: Path) -> str:
    """The distribution's name; "" where it has none."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(etc / "os-release"), re.MULTILINE)
    return match[1] if match else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpuinfo(proc: Path) -> list[dict[str, str]]:
    blocks = []
    for block in _text(proc / "cpuinfo").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        blocks.append({key.strip(): value.strip() for key, colon, value in pairs if colon})
    return blocks


def _model(blocks: list[dict[str, str]]) -> str:
    values = {key: value for block in reversed(blocks) for key, value in block.items()}
    name = values.get("model name") or values.get("cpu")
    if not name and "CPU part" in values:
        key = (values.get("CPU implementer", ""), values["CPU part"])
        name = _ARM_CORES.get(key, f"Arm, implementer {key[0]}, part {key[1]}")
    return " ".join((name or "").split())


def _frequency(blocks: list[dict[str, str]], sys: Path) -> str:
    """The highest clock; where the system does not tell it, that of the name, else the present one."""
    highest = _text(sys / "devices" / "system" / "cpu" / "cpu0" / "cpufreq" / "cpuinfo_max_freq")
    if highest.isdecimal():
        return f"{int(highest) / 1e6:.2f} GHz"
    match = re.search(r"@ *([\d.]+) *GHz", _model(blocks))
    if match:
        return f"{float(match[1]):.2f} GHz"
    clocks = [float(clock) for block in blocks if re.fullmatch(r"\d+(\.\d+)?", clock := block.get("cpu MHz", ""))]
    return f"{max(clocks) / 1000:.2f} GHz" if clocks else ""


def _caches(sys: Path) -> str:
    """Of processor 0: "L1d 48K, L1i 32K, L2 2048K, L3 107520K"."""
    names = []
    for index in sorted((sys / "devices" / "system" / "cpu" / "cpu0" / "cache").glob("index*")):
        level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
        if level and size:
            names.append(f"L{level}{ {'Data': 'd', 'Instruction': 'i'}.get(kind, '')} {size}")
    return ", ".join(names)


def _topology(sys: Path) -> list[_Thread]:
    threads = []
    for folder in sorted((sys / "devices" / "system" / "cpu").glob("cpu[0-9]*/topology")):
        processor, core = _text(folder / "physical_package_id"), _text(folder / "core_id")
        if processor and core:
            threads.append(_Thread(processor, f"{_text(folder / 'die_id')}/{core}"))
    return threads


def _storage_kind(folder: Path, proc: Path, sys: Path) -> str:
    kind, source, number = _mount(folder, proc)
    if kind.startswith(_NETWORK_FILE_SYSTEMS):
        return f"network file system ({kind})"
    if kind == "tmpfs":
        return "main memory (tmpfs)"
    named = sys / "class" / "block" / Path(source).name
    device = (named if source.startswith("/dev/") and named.exists() else sys / "dev" / "block" / number).resolve()
    rotational = _text(device / "queue" / "rotational") or _text(device.parent / "queue" / "rotational")
    if not rotational:
        return ""
    if device.name.startswith(("vd", "xvd")):  # these do not tell what is beneath them
        return f"virtual disk ({kind})"
    return f"{'hard disk' if rotational == '1' else 'NVMe SSD' if device.name.startswith('nvme') else 'SSD'} ({kind})"


def _mount(folder: Path, proc: Path) -> tuple[str, str, str]:
    """Type, source and major:minor of the mount that holds a folder (proc(5), /proc/pid/mountinfo)."""
    best, length = ("", "", ""), -1
    for line in _text(proc / "self" / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if len(left) < 5 or len(right) < 2:
            continue
        point = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), left[4]))
        if folder.is_relative_to(point) and len(point.parts) >= length:
            best, length = (right[0], right[1], left[2]), len(point.parts)
    return best
