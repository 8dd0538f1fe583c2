"""Reads XLA's optimised HLO text: instructions, the calls between computations, and how often each runs."""

import dataclasses
import math
import re
from collections.abc import Iterator

_BITS = {"pred": 8, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b(pred|token|opaque|[a-z]+\d+[a-z0-9]*)\[([\d,<= ]*)\]")
_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LHS = re.compile(r"^\s*(ROOT )?%?([\w.\-]+) = ")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations|called_computations)=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Array:
    """An array type: HLO dtype ("bf16", "f32", ...) and dimensions."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes without layout padding."""
        return math.prod(self.shape) * self.bits // 8

    @property
    def bits(self) -> int:
        """Bits of one element."""
        if self.dtype in _BITS:
            return _BITS[self.dtype]
        return int(re.search(r"\d+", self.dtype)[0])  # type: ignore[index]


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of HLO.

    Attributes:
      name, opcode: as printed.
      arrays: result arrays, nested tuples flattened.
      operands: names of the operand instructions of the same computation.
      attributes: the rest of the line.
      literal: what stands in the parentheses: a parameter's number, a constant's value.
      root: whether it is the computation's result.
    """

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    literal: str
    root: bool

    @property
    def bytes(self) -> int:
        """Bytes of the result."""
        return sum(array.bytes for array in self.arrays)

    @property
    def op_name(self) -> str:
        """The JAX operation it came from, empty if XLA does not say."""
        return attribute(self, r'op_name="([^"]*)"')

    @property
    def target(self) -> str:
        """The kernel that a custom call names."""
        return attribute(self, r'custom_call_target="([^"]*)"')


Computation = dict[str, Instruction]


@dataclasses.dataclass(frozen=True)
class Module:
    """A compiled program: computations by name, each a mapping of instruction names in schedule order.

    `partitions` is the number of devices it runs on.
    """

    computations: dict[str, Computation]
    entry: str
    partitions: int


@dataclasses.dataclass(frozen=True)
class Execution:
    """An instruction that runs: where, how often in one call of the program, and inside which kernel.

    Attributes:
      instruction, computation: the instruction and the computation around it.
      times: executions; loops of unknown length count one trip, every branch of a conditional counts.
      caller: the fusion or asynchronous start around it, None for an instruction that is its own kernel.
    """

    instruction: Instruction
    computation: Computation
    times: int
    caller: Instruction | None


def attribute(instruction: Instruction, pattern: str) -> str:
    """The first group of `pattern` in the instruction's attributes, or an empty string."""
    found = re.search(pattern, instruction.attributes)
    return found[1] if found else ""


def parse(text: str) -> Module:
    """Parses `compiled.as_text()`."""
    computations: dict[str, Computation] = {}
    entry = current = ""
    sizes = re.findall(r"(?:num_partitions|replica_count)=(\d+)", text.partition("\n")[0])
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = header[2]
            computations[current] = {}
            entry = current if header[1] else entry
        elif line.startswith("}"):
            current = ""
        elif current and (instruction := _parse_line(line)):
            computations[current][instruction.name] = instruction
    return Module(computations, entry, math.prod(int(size) for size in sizes))


def executions(module: Module) -> Iterator[Execution]:
    """Every instruction that runs, in program order, the bodies of fusions and loops included."""
    yield from _walk(module, module.entry, 1, None)


def operands(execution: Execution) -> list[Instruction]:
    """The instructions that produce the operands."""
    names = execution.instruction.operands
    return [execution.computation[name] for name in names if name in execution.computation]


def called(instruction: Instruction) -> list[str]:
    """Names of the computations that an instruction runs (not the scalar functions of reductions)."""
    if instruction.opcode not in ("fusion", "while", "conditional", "call", "async-start"):
        return []
    names = _CALLED.findall(instruction.attributes)
    for group in _BRANCHES.findall(instruction.attributes):
        names += re.findall(r"[\w.\-]+", group)
    return names


def _walk(module: Module, name: str, times: int, caller: Instruction | None) -> Iterator[Execution]:
    computation = module.computations[name]
    for instruction in computation.values():
        yield Execution(instruction, computation, times, caller)
        trips = attribute(instruction, _TRIPS.pattern) if instruction.opcode == "while" else ""
        inner = caller
        if instruction.opcode in ("fusion", "async-start") and caller is None:
            inner = instruction
        for callee in called(instruction):
            yield from _walk(module, callee, times * int(trips or 1), inner)


def _parse_line(line: str) -> Instruction | None:
    left = _LHS.match(line)
    if not left:
        return None
    rest = line[left.end() :]
    type_end = _closing(rest) if rest.startswith("(") else rest.find(" ")
    opcode, opening, arguments = rest[type_end:].strip().partition("(")
    if not opening:
        return None
    end = _closing(opening + arguments) - 1
    arrays = tuple(Array(dtype, _dimensions(shape)) for dtype, shape in _ARRAY.findall(rest[:type_end]))
    names = tuple(_NAME.findall(arguments[:end]))
    return Instruction(left[2], opcode, arrays, names, arguments[end:], arguments[: end - 1], bool(left[1]))


def _dimensions(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _closing(text: str) -> int:
    """Index just behind the parenthesis that closes the one at index 0."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return index + 1
    return len(text)
