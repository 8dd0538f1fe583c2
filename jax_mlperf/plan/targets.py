"""The machines that `plan` can compile for: what XLA must know of them, and the rates of the roofline."""

import dataclasses
from typing import Any

from jax_mlperf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of device and the network around it.

    Attributes:
      name: what `--target` calls it.
      description: the vendor's name.
      platform: "cuda" or "tpu".
      devices_per_host: devices that share the fast links: a GPU node, or a whole TPU slice.
      memory_bytes: device memory; `usable_fraction` of it is JAX's by default.
      memory_bandwidth: bytes/s.
      peak_bf16: dense FLOP/s of bf16 and f16 products.
      peak_f32: FLOP/s of f32 products at JAX's default precision (TF32 on NVIDIA; on TPU one bf16 pass).
      link_bandwidth: bytes/s out of one device to the others of its host, one direction.
      network_bandwidth: bytes/s out of one device to other hosts, one direction.
      xla_device: NVIDIA only: `gpu_device_info` fields of XLA's target description, as text protobuf.
      xla_topology: TPU only: the generation's name in libtpu.
    """

    name: str
    description: str
    platform: str
    devices_per_host: int
    memory_bytes: float
    usable_fraction: float
    memory_bandwidth: float
    peak_bf16: float
    peak_f32: float
    link_bandwidth: float
    network_bandwidth: float
    xla_device: str = ""
    xla_topology: str = ""

    def peak(self, dtype: str) -> float:
        """FLOP/s of matrix products whose widest operand has this HLO dtype."""
        if dtype.startswith("f8") or dtype in ("s8", "u8"):
            return 2 * self.peak_bf16
        return self.peak_bf16 if dtype in ("bf16", "f16") else self.peak_f32


def _xla_device(
    name: str,
    *,
    major: int,
    cores: int,
    fpus: int,
    clock_ghz: float,
    shared_kib: int,
    l2_mib: int,
    memory_bytes: float,
    bandwidth: float,
) -> str:
    """XLA's target description of an NVIDIA card; what all cards since sm_80 share is constant here."""
    return (
        "gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 "
        f"shared_memory_per_core: {shared_kib * 1024} threads_per_core_limit: 2048 core_count: {cores} "
        f"fpus_per_core: {fpus} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 "
        f"block_dim_limit_z: 65535 memory_bandwidth: {int(bandwidth)} "
        f"l2_cache_size: {l2_mib * 1024 * 1024} clock_rate_ghz: {clock_ghz} "
        f"device_memory_size: {int(memory_bytes)} shared_memory_per_block_optin: {(shared_kib - 1) * 1024} "
        f"cuda_compute_capability {{ major: {major} minor: 0 }} registers_per_core_limit: 65536 "
        'registers_per_block_limit: 65536 } platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } '
        f'runtime_version {{ major: 12 minor: 8 }} device_description_str: "{name}"'
    )


def _nvidia(
    name: str,
    description: str,
    *,
    memory_gb: float,
    bandwidth: float,
    peak_bf16: float,
    peak_tf32: float,
    nvlink: float,
    network: float,
    major: int,
    cores: int,
    fpus: int,
    clock_ghz: float,
    shared_kib: int,
    l2_mib: int,
) -> Target:
    xla_device = _xla_device(
        description,
        major=major,
        cores=cores,
        fpus=fpus,
        clock_ghz=clock_ghz,
        shared_kib=shared_kib,
        l2_mib=l2_mib,
        memory_bytes=memory_gb * 1e9,
        bandwidth=bandwidth,
    )
    return Target(
        name,
        description,
        "cuda",
        devices_per_host=8,
        memory_bytes=memory_gb * 1e9,
        usable_fraction=0.75,  # JAX's default XLA_PYTHON_CLIENT_MEM_FRACTION
        memory_bandwidth=bandwidth,
        peak_bf16=peak_bf16,
        peak_f32=peak_tf32,
        link_bandwidth=nvlink,
        network_bandwidth=network,
        xla_device=xla_device,
    )


def _tpu(
    name: str, description: str, *, memory_gib: float, bandwidth: float, peak_bf16: float, ici: float
) -> Target:
    # One slice is one network of inter-chip links; f32 products run as one bf16 pass at default precision.
    return Target(
        name,
        description,
        "tpu",
        devices_per_host=10**6,
        memory_bytes=memory_gib * 2**30,
        usable_fraction=1.0,
        memory_bandwidth=bandwidth,
        peak_bf16=peak_bf16,
        peak_f32=peak_bf16,
        link_bandwidth=ici,
        network_bandwidth=ici,
        xla_topology=name,
    )


# What H100 and H200, one chip with different memories, share.
_HOPPER: dict[str, Any] = {
    "peak_bf16": 989.5e12,
    "peak_tf32": 494.7e12,
    "nvlink": 450e9,
    "network": 50e9,
    "major": 9,
    "cores": 132,
    "fpus": 128,
    "clock_ghz": 1.98,
    "shared_kib": 228,
}

# NVIDIA: the datasheets of the SXM parts (dense rates; NVLink's total of both directions halved) and one
# network card of 400 Gbit/s (H100, H200) or 200 Gbit/s (A100) for each GPU, as in DGX nodes. TPU: Cloud TPU
# docs, system architecture (inter-chip bandwidth of a chip, both directions, halved).
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _nvidia(
            "h200",
            "NVIDIA H200",
            memory_gb=150.0,
            bandwidth=4.8e12,
            l2_mib=60,
            **_HOPPER,
        ),
        _nvidia(
            "h100",
            "NVIDIA H100 80GB HBM3",
            memory_gb=85.0,
            bandwidth=3.35e12,
            l2_mib=50,
            **_HOPPER,
        ),
        _nvidia(
            "a100",
            "NVIDIA A100-SXM4-80GB",
            memory_gb=85.0,
            bandwidth=2.039e12,
            peak_bf16=312e12,
            peak_tf32=156e12,
            nvlink=300e9,
            network=25e9,
            major=8,
            cores=108,
            fpus=64,
            clock_ghz=1.41,
            shared_kib=164,
            l2_mib=40,
        ),
        _tpu("v5e", "TPU v5e", memory_gib=16, bandwidth=819e9, peak_bf16=197e12, ici=100e9),
        _tpu("v5p", "TPU v5p", memory_gib=95, bandwidth=2765e9, peak_bf16=459e12, ici=300e9),
        _tpu("v6e", "TPU v6e", memory_gib=32, bandwidth=1640e9, peak_bf16=918e12, ici=224e9),
    )
}


def find_target(name: str) -> Target:
    """The target called `name`.

    Raises:
      UserError: there is none.
    """
    if name not in TARGETS:
        raise UserError(f"target {name!r} is unknown: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]
