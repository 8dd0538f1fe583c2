"""A plan as text for people, and as a JSON-ready dictionary for programs."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from jax_mlperf.plan.communication import Collective, seconds
from jax_mlperf.plan.products import Product
from jax_mlperf.plan.step import StepPlan


def plan_dict(plan: StepPlan) -> dict[str, Any]:
    """Everything in the plan, collectives and products grouped; all figures are of one device."""
    memory = dataclasses.asdict(plan.memory) | {
        "total": plan.memory.total,
        "available": int(plan.target.memory_bytes * plan.target.usable_fraction),
        "fits": plan.fits,
    }
    return {
        "target": plan.target.name,
        "mesh": plan.mesh,
        "compile_seconds": round(plan.compile_seconds, 2),
        "memory_bytes": memory,
        "collectives": _collective_groups(plan),
        "products": _product_groups(plan.products),
        "roofline": dataclasses.asdict(plan.roofline),
        "kernels": [dataclasses.asdict(kernel) for kernel in plan.dearest],
    }


def format_plan(name: str, plan: StepPlan) -> str:
    """Tables of memory, collectives, products, time and the dearest kernels."""
    facts = plan_dict(plan)
    devices = " x ".join(f"{axis}={size}" for axis, size in plan.mesh.items())
    blocks = [
        f"{name}: {plan.target.description}, mesh {devices}, compiled in {plan.compile_seconds:.1f} s",
        _memory_line(facts["memory_bytes"]),
        _collective_table(facts["collectives"]),
        _product_table(facts["products"]),
        _roofline_lines(facts["roofline"]),
        _kernel_table(facts["kernels"]),
    ]
    return "\n".join(blocks)


def _collective_groups(plan: StepPlan) -> list[dict[str, Any]]:
    rates = (plan.target.devices_per_host, plan.target.link_bandwidth, plan.target.network_bandwidth)
    groups: dict[tuple[Any, ...], list[Collective]] = collections.defaultdict(list)
    for item, axes in plan.collectives:
        groups[item.kind, axes, len(item.group), item.dtype, item.asynchronous].append(item)
    return [
        {
            "kind": kind,
            "axes": list(axes),
            "group_size": size,
            "dtype": dtype,
            "asynchronous": asynchronous,
            "count": sum(item.count for item in items),
            "tensors": sum(item.tensors * item.count for item in items),
            "bytes": sum(item.bytes * item.count for item in items),
            "seconds": sum(seconds(item, *rates) for item in items),
            "op_names": _first({item.op_name: None for item in items if item.op_name}),
        }
        for (kind, axes, size, dtype, asynchronous), items in groups.items()
    ]


def _product_groups(products: Iterable[Product]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, ...], list[Product]] = collections.defaultdict(list)
    for item in products:
        groups[item.kind, item.dtype, item.out_dtype, item.library].append(item)
    return [
        {
            "kind": kind,
            "dtype": dtype,
            "out_dtype": out,
            "library": library,
            "count": sum(item.count for item in items),
            "flops": sum(item.flops * item.count for item in items),
            "op_names": _first({item.op_name: None for item in items if item.op_name}),
        }
        for (kind, dtype, out, library), items in groups.items()
    ]


def _first(names: Iterable[str], limit: int = 4) -> list[str]:
    return list(names)[:limit]


def _memory_line(memory: dict[str, Any]) -> str:
    names = ("arguments", "outputs", "aliased", "temporaries")
    parts = ", ".join(f"{name} {_size(memory[name])}" for name in names)
    verdict = "fits" if memory["fits"] else "DOES NOT FIT"
    return f"memory per device: {_size(memory['total'])} of {_size(memory['available'])}: {verdict} ({parts})"


def _collective_table(groups: list[dict[str, Any]]) -> str:
    if not groups:
        return "collectives: none"
    rows = [
        (
            g["kind"],
            ",".join(g["axes"]) or "-",
            g["group_size"],
            g["dtype"],
            g["count"],
            g["tensors"],
            _size(g["bytes"]),
            "yes" if g["asynchronous"] else "no",
            _time(g["seconds"]),
        )
        for g in groups
    ]
    return _table(
        ("collective", "axes", "devices", "dtype", "count", "tensors", "bytes", "async", "time"), rows
    )


def _product_table(groups: list[dict[str, Any]]) -> str:
    rows = [
        (g["kind"], g["dtype"], g["out_dtype"], g["library"], g["count"], f"{g['flops'] / 1e9:,.1f}")
        for g in groups
    ]
    return _table(("product", "dtype", "result", "library", "count", "GFLOP"), rows)


def _roofline_lines(facts: dict[str, Any]) -> str:
    return (
        f"roofline: {facts['flops'] / 1e12:,.3f} TFLOP in {_time(facts['flops_seconds'])}, "
        f"{_size(facts['bytes'])} moved in {_time(facts['bytes_seconds'])}, kernel by kernel "
        f"{_time(facts['kernel_seconds'])} ({facts['kernels']} launches); collectives "
        f"{_time(facts['collective_seconds'])}, of which exposed {_time(facts['exposed_seconds'])}\n"
        f"step at least {_time(facts['step_seconds'])} (published peaks, no gaps)"
    )


def _kernel_table(kernels: list[dict[str, Any]]) -> str:
    rows = [
        (
            k["name"][:40],
            k["count"],
            f"{k['flops'] / 1e9:,.1f}",
            _size(k["bytes"]),
            _time(k["seconds"]),
            k["op_name"][-70:],
        )
        for k in kernels
    ]
    return _table(("dearest kernels", "count", "GFLOP", "bytes", "time", "operation"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    cells = [list(header)] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.2f} {unit}"
    return f"{count:.0f} B"


def _time(value: float) -> str:
    return f"{value * 1e3:,.3f} ms"
