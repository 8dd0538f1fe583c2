"""Clearing the caches, and what a machine tells about itself."""

import getpass
import importlib.metadata
import json
import re
import shutil
import socket

import pytest

from jax_mlperf.mlperf.system.accelerators import nvidia_smi
from jax_mlperf.mlperf.system.environment import clear_file_caches, environment

# Two processors of two cores with two threads each.
_CPUINFO = "\n".join(f"""processor\t: {index}
model name\t: Intel(R)  Xeon(R) Platinum 8480C
cpu MHz\t\t: {2000 + index}.500
physical id\t: {index % 2}
core id\t\t: {index // 2 % 2}
""" for index in range(8))
_GPUS = [{"kind": "NVIDIA H200", "platform": "gpu", "process": 0, "memory_bytes": 104 * 2**30} for _ in range(8)]
_SMI = {"query": "NVIDIA H200, 143771, 570.124.06, 1980, 5, 16\n" * 8,
        "": "| NVIDIA-SMI 570.124.06   Driver Version: 570.124.06   CUDA Version: 12.8     |",
        "topo": "\tGPU0\tGPU1\tNIC0\nGPU0\t X \tNV18\tPXB\nGPU1\tNV18\t X \tSYS\n"}


def smi(arguments):
    return _SMI[next((name for name in ("query", "topo") if any(name in word for word in arguments)), "")]


@pytest.fixture
def machine(tmp_path):
    """The folders of a machine that is not ours, and a work folder on its NVMe disk."""
    files = {"proc/cpuinfo": _CPUINFO, "proc/meminfo": "MemTotal:       2113406548 kB\nMemFree: 1 kB\n",
             "proc/self/mountinfo": f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:50 / {tmp_path}/nfs rw - nfs4 server.name:/home rw\n"
                                    f"24 22 259:2 / {tmp_path}/with\\040space rw shared:1 - xfs /dev/nvme0n1p2 rw\n",
             "sys/class/block/nvme0n1p2/device": "", "sys/class/block/queue/rotational": "0\n",
             "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "3800000\n",
             "sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n", "sys/class/infiniband/mlx5_0/ports/1/link_layer": "InfiniBand",
             "sys/class/infiniband/mlx5_0/ports/1/rate": "400 Gb/sec (4X NDR)", "sys/class/infiniband/mlx5_1/ports/1/state": "1: DOWN",
             "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n', "with space/log": ""}
    for level, kind, size in ((1, "Data", "48K"), (1, "Instruction", "32K"), (3, "Unified", "107520K")):
        folder = f"sys/devices/system/cpu/cpu0/cache/index{level}{kind}"
        files |= {f"{folder}/level": str(level), f"{folder}/type": kind, f"{folder}/size": size}
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def facts(machine, folder="with space", devices=_GPUS, variables=None, query=smi):
    return environment(machine / folder, devices, proc=machine / "proc", sys=machine / "sys", etc=machine / "etc",
                       variables=variables or {}, query=query)


def test_clear_file_caches_says_whether_it_was_allowed(tmp_path):
    assert clear_file_caches(tmp_path / "drop_caches")
    assert (tmp_path / "drop_caches").read_text() == "3\n"
    assert not clear_file_caches(tmp_path / "absent" / "drop_caches")


def test_environment_of_a_machine_with_gpus(machine):
    told = facts(machine)
    wanted = {"number_of_nodes": "1", "processes": "1", "host_processors_per_node": "2", "host_processor_core_count": "2",
              "host_processor_vcpu_count": "4", "host_processor_model_name": "Intel(R) Xeon(R) Platinum 8480C",
              "host_processor_frequency": "3.80 GHz", "host_processor_caches": "L1d 48K, L1i 32K, L3 107520K",
              "host_memory_capacity": "2016 GiB", "host_storage_type": "NVMe SSD (xfs)",
              "host_networking": "1 x InfiniBand 400 Gb/sec (4X NDR)", "accelerators_per_node": "8",
              "accelerator_model_name": "NVIDIA H200", "accelerator_memory_capacity": "143771 MiB",
              "accelerator_frequency": "1980 MHz", "accelerator_host_interconnect": "PCIe Gen5 x16",
              "accelerator_interconnect": "NVLink, 18 links", "nvidia_driver": "570.124.06", "cuda_of_driver": "12.8",
              "operating_system": "Ubuntu 24.04 LTS", "numpy": importlib.metadata.version("numpy")}
    assert {name: told.get(name) for name in wanted} == wanted
    assert re.fullmatch(r"\d+ GB|\d+\.\d\d TB", told["host_storage_capacity"])
    assert all(isinstance(value, str) and value for value in told.values())


def test_cores_are_counted_from_sysfs_where_it_tells_them(machine):
    for index in range(6):  # one processor of two dies: core numbers begin anew on each
        folder = machine / f"sys/devices/system/cpu/cpu{index}/topology"
        folder.mkdir(parents=True)
        for name, value in (("physical_package_id", 0), ("die_id", index % 2), ("core_id", index // 2)):
            (folder / name).write_text(f"{value}\n")
    told = facts(machine)
    assert (told["host_processors_per_node"], told["host_processor_core_count"], told["host_processor_vcpu_count"]) == ("1", "6", "6")


@pytest.mark.parametrize(("cpuinfo", "model", "frequency"), [
    ("processor : 0\nmodel name : Intel(R) Core(TM) i7 CPU @ 2.20GHz\ncpu MHz : 800.0\n", "Intel(R) Core(TM) i7 CPU @ 2.20GHz", "2.20 GHz"),
    ("processor : 0\nmodel name : AMD EPYC\ncpu MHz : 2445.428\n", "AMD EPYC", "2.45 GHz"),
    ("processor : 0\nCPU implementer : 0x41\nCPU part : 0xd4f\n", "Arm Neoverse-V2", None),
    ("processor : 0\nCPU implementer : 0x61\nCPU part : 0x022\n", "Arm, implementer 0x61, part 0x022", None),
    ("processor : 0\ncpu : POWER9, altivec supported\nclock : 3800MHz\n", "POWER9, altivec supported", None),
    ("\x00 no colon\n\n:\n", None, None)])
def test_processor_names_of_other_machines(machine, cpuinfo, model, frequency):
    (machine / "proc/cpuinfo").write_text(cpuinfo)
    (machine / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").unlink()
    told = facts(machine)
    assert (told.get("host_processor_model_name"), told.get("host_processor_frequency")) == (model, frequency)


@pytest.mark.parametrize(("source", "files", "kind"), [
    ("8:1 / / rw - ext4 /dev/sda1 rw", {"sys/dev/block/8:1/queue/rotational": "1"}, "hard disk (ext4)"),
    ("254:0 / / rw - ext4 /dev/vda rw", {"sys/class/block/vda/queue/rotational": "1"}, "virtual disk (ext4)"),
    ("0:9 / / rw - lustre 10.0.0.1@o2ib:/scratch rw", {}, "network file system (lustre)"),
    ("0:9 / / rw - tmpfs tmpfs rw", {}, "main memory (tmpfs)"),
    ("0:9 / / rw - overlay overlay rw", {}, None), ("damaged", {}, None)])
def test_storage_types(machine, source, files, kind):
    for name, text in files.items():
        (machine / name).parent.mkdir(parents=True, exist_ok=True)
        (machine / name).write_text(text)
    (machine / "proc/self/mountinfo").write_text(f"22 1 {source}\n")
    assert facts(machine).get("host_storage_type") == kind


def test_storage_of_a_folder_that_is_not_there_yet(machine):
    (machine / "nfs").mkdir()
    assert facts(machine, folder="nfs/new/folder")["host_storage_type"] == "network file system (nfs4)"


@pytest.mark.parametrize(("processes", "variables", "nodes", "per_node"), [
    (1, {}, "1", "8"), (8, {"SLURM_JOB_NUM_NODES": "2"}, "2", "4"), (8, {"OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, "2", "4"),
    (8, {}, None, None), (8, {"SLURM_JOB_NUM_NODES": "16"}, None, None), (8, {"OMPI_COMM_WORLD_LOCAL_SIZE": "3"}, None, None)])
def test_number_of_nodes(machine, processes, variables, nodes, per_node):
    devices = [{**device, "process": index % processes} for index, device in enumerate(_GPUS)]
    told = facts(machine, devices=devices, variables=variables)
    assert (told["processes"], told.get("number_of_nodes"), told.get("accelerators_per_node")) == (str(processes), nodes, per_node)


def test_devices_without_nvidia_smi(machine):
    none = facts(machine, devices=[{"kind": "cpu", "platform": "cpu", "process": 0}] * 8)
    assert none["accelerators_per_node"] == "0" and "accelerator_model_name" not in none and "cudnn" not in none
    tpu = facts(machine, devices=[{"kind": "TPU v4", "platform": "tpu", "process": 0, "memory_bytes": 32 * 2**30}] * 4)
    assert (tpu["accelerator_model_name"], tpu["accelerator_memory_capacity"]) == ("TPU v4", "32 GiB")
    for broken in ("", "garbage", "NVIDIA-SMI has failed because it couldn't communicate, with, the, driver, at, all, today\n"):
        gpu = facts(machine, query=lambda _, text=broken: text)
        assert gpu["accelerator_model_name"] == "NVIDIA H200" and "accelerator_memory_capacity" not in gpu
    masked = facts(machine, query=lambda arguments: "NVIDIA H200, [N/A], 570, [N/A], [N/A], [N/A]\n" if arguments else "")
    assert masked["nvidia_driver"] == "570" and "accelerator_frequency" not in masked


def test_a_machine_that_tells_nothing(tmp_path):
    told = environment(tmp_path / "absent", proc=tmp_path / "p", sys=tmp_path / "s", etc=tmp_path / "e", variables={})
    assert set(told) & {"host_memory_capacity", "host_processor_model_name", "host_storage_type", "accelerators_per_node"} == set()
    assert told["number_of_nodes"] == "1" and told["python"] and told["operating_system"]


def test_this_machine_is_told_without_names(tmp_path):
    shutil.rmtree(tmp_path)
    text = json.dumps(environment(tmp_path)).lower()
    names = [socket.gethostname().lower(), getpass.getuser().lower()]
    assert not [name for name in names if len(name) > 4 and name not in ("localhost", "linux") and name in text]
    assert not re.search(r"\d+\.\d+\.\d+\.\d+:|[0-9a-f]{2}(:[0-9a-f]{2}){5}", text)


@pytest.mark.parametrize(("script", "printed"), [("echo \"$@\"", "topo -m\n"), ("echo broken; exit 9", ""), (None, "")])
def test_nvidia_smi_that_answers_fails_or_is_missing(tmp_path, monkeypatch, script, printed):
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_smi(["topo", "-m"]) == printed


def test_nvidia_smi_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("jax_mlperf.mlperf.system.accelerators._TIMEOUT_SECONDS", 0.1)
    assert nvidia_smi([]) == ""
