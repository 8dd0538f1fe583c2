"""TFRecord files: written, indexed by their record headers alone, read at random, checked.

A record is its payload's length (uint64, little endian), the masked CRC-32C of these eight bytes, the payload,
and the payload's masked CRC-32C (`tensorflow/tensorflow:tensorflow/core/lib/io/record_writer.h`).
"""

import os
import resource
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from jax_mlperf.errors import UserError

Parsed = TypeVar("Parsed")
HEADER_BYTES = 12  # length and its CRC
FOOTER_BYTES = 4  # CRC of the payload
_NOTHING = np.empty(0, np.uint8)
_MASK_DELTA = 0xA282EAD8  # `tensorflow/tensorflow:tensorflow/core/lib/hash/crc32c.h`


def masked_crc(data: bytes | np.ndarray) -> int:
    """CRC-32C rotated right by 15 bits plus a constant, so that the CRC of data that holds CRCs is sound."""
    from google_crc32c import value  # only who reads or writes records needs it

    crc = value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def write_record(file: BinaryIO, payload: bytes) -> None:
    """Appends one record."""
    length = struct.pack("<Q", len(payload))
    file.write(length + struct.pack("<I", masked_crc(length)))
    file.write(payload)
    file.write(struct.pack("<I", masked_crc(payload)))


def write_shard(path: Path, payloads: Iterable[bytes]) -> None:
    """Writes a file of records whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.writing")
    try:
        with open(part, "wb") as file:
            for payload in payloads:
                write_record(file, payload)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def index_shard(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Finds the records of a file by their headers; the payloads are skipped.

    Returns:
      offsets of the payloads in bytes and their lengths, int64 [records] each.

    Raises:
      UserError: the file cannot be read, a header's CRC does not hold, or the file ends within a record.
    """
    offsets: list[int] = []
    lengths: list[int] = []
    position = 0
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        while position < size:
            header = os.pread(file.fileno(), HEADER_BYTES, position)
            if len(header) < HEADER_BYTES:
                raise _truncated(path, len(offsets), size)
            length, crc = struct.unpack("<QI", header)
            if crc != masked_crc(header[:8]):
                raise UserError(
                    f"{path}: record {len(offsets)} (at byte {position:,}) is corrupt: the CRC of its length does "
                    "not hold; this is no TFRecord file, or it is damaged: copy the file again"
                )
            offsets.append(position + HEADER_BYTES)
            lengths.append(length)
            position += HEADER_BYTES + length + FOOTER_BYTES
            if position > size:
                raise _truncated(path, len(offsets) - 1, size)
    return np.array(offsets, np.int64), np.array(lengths, np.int64)


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; copy the file again") from error


def _truncated(path: Path, record: int, size: int) -> UserError:
    return UserError(f"{path}: the file ends within record {record}, after {size:,} bytes: copy the file again")


class Shards:
    """Records of many files at random, from any number of threads.

    A file is opened when it is first read and stays open as far as the limit of open files allows (the soft
    limit is raised towards the hard one); beyond that it is opened for each read.

    Args:
      paths: the files.
      sizes: their sizes in bytes when they were indexed.
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[int]):
        self.paths = list(paths)
        self._sizes = list(sizes)
        self._open: dict[int, int] = {}
        self._lock = threading.Lock()
        self._buffers = threading.local()
        self._capacity = _raised_file_limit(len(self.paths)) // 2

    def read(self, shard: int, offset: int, length: int) -> bytes:
        """The payload of one record, whether its CRC holds or not.

        Raises:
          UserError: as `view`.
        """
        return bytes(self.view(shard, offset, length)[0])

    def is_intact(self, shard: int, offset: int, length: int) -> bool:
        """Whether the CRC of a record's payload holds."""
        return self.view(shard, offset, length)[1]

    def view(self, shard: int, offset: int, length: int) -> tuple[memoryview, bool]:
        """The payload of one record, and whether its CRC holds.

        The view is of a buffer that the thread's next read fills anew: a fresh one for each record would cost
        more in page faults than the read itself.

        Raises:
          UserError: the file is gone or has another size than when it was indexed.
        """
        buffer = getattr(self._buffers, "buffer", _NOTHING)
        if len(buffer) < length + FOOTER_BYTES:
            buffer = self._buffers.buffer = np.empty(2 * length + FOOTER_BYTES, np.uint8)
        record = buffer[: length + FOOTER_BYTES]
        whole = self._pread(shard, offset, record.data) == len(record)
        payload = record[:length]
        return payload.data, whole and masked_crc(payload) == int.from_bytes(record[length:].data, "little")

    def announce(self, shard: int, offset: int, length: int) -> None:
        """Asks the system to fetch a record that will be read soon."""
        descriptor = self._descriptor(shard)
        if descriptor is not None and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        """Closes the files; a later read opens them again."""
        with self._lock:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open = {}

    def _pread(self, shard: int, offset: int, into: memoryview) -> int:
        descriptor = self._descriptor(shard)
        if descriptor is not None:
            return os.preadv(descriptor, [into], offset)
        descriptor = self._opened(shard)
        try:
            return os.preadv(descriptor, [into], offset)
        finally:
            os.close(descriptor)

    def _descriptor(self, shard: int) -> int | None:
        """The open file, or None where there is no room for another one."""
        descriptor = self._open.get(shard)
        if descriptor is None and len(self._open) < self._capacity:
            with self._lock:
                descriptor = self._open.get(shard)
                if descriptor is None:
                    descriptor = self._open[shard] = self._opened(shard)
        return descriptor

    def _opened(self, shard: int) -> int:
        path = self.paths[shard]
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; put it back, or run data prepare again") from error
        size = os.fstat(descriptor).st_size
        if size != self._sizes[shard]:
            os.close(descriptor)
            raise UserError(
                f"{path} has {size:,} bytes, had {self._sizes[shard]:,} when it was indexed: run data prepare again"
            )
        return descriptor


def _raised_file_limit(wanted: int) -> int:
    """Raises the soft limit of open files towards twice `wanted`; returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = max(soft, 2 * wanted + 512)
    target = target if hard == resource.RLIM_INFINITY else min(target, hard)
    if soft != resource.RLIM_INFINITY and target > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return target if soft == resource.RLIM_INFINITY else soft


def parsed_records(path: Path, parse: Callable[[memoryview], Parsed]) -> Iterator[Parsed]:
    """What `parse` makes of the payload of each record of a file; the payload is gone when the next one is read.

    Raises:
      UserError: as `index_shard`; or the CRC of a payload does not hold, or `parse` raises what says that it is damaged.
    """
    offsets, lengths = index_shard(path)
    shards = Shards([path], [path.stat().st_size])
    try:
        for record, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
            payload, intact = shards.view(0, offset, length)
            try:
                if not intact:
                    raise ValueError("the CRC of its payload does not hold")
                parsed = parse(payload)
            except (ValueError, OSError, SyntaxError) as error:  # Pillow reports damage as one of the latter two
                raise UserError(f"{path}: record {record} is corrupt: {error}; copy the file again") from error
            yield parsed
    finally:
        shards.close()


def corrupt_records(path: Path) -> tuple[int, list[int]]:
    """Reads a whole file: its number of records, and which of them have a payload whose CRC does not hold.

    Raises:
      UserError: as `index_shard`.
    """
    offsets, lengths = index_shard(path)
    shards = Shards([path], [path.stat().st_size])
    try:
        bad = [
            number
            for number, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True))
            if not shards.is_intact(0, offset, length)
        ]
    finally:
        shards.close()
    return len(offsets), bad
