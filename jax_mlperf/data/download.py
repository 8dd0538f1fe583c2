"""Fetches the files of a table of sources: resumes, checks, unpacks; standard library only.

A download grows as `<archive>.part` and takes its name when it is complete and its checksum holds. Running
again goes on where the last run stopped.
"""

import contextlib
import gzip
import hashlib
import http.client
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, TextIO

from jax_mlperf.data.encoding import count_lines
from jax_mlperf.data.sources import File, Source
from jax_mlperf.errors import UserError

ATTEMPTS = 5
TIMEOUT_SEC = 60.0
_BLOCK_BYTES = 1 << 18
_PLAIN_INTERVAL_SEC = 30.0


class _Incomplete(Exception):
    """The connection ended before the whole file had come."""


@dataclass(frozen=True)
class Check:
    """What `verify` found of one file."""

    path: Path
    state: Literal["ok", "missing", "damaged"]
    detail: str = ""


def download(
    sources: Iterable[Source], folder: Path, *, mirror: str | None = None, retry_sec: float = 2.0
) -> None:
    """Fetches and unpacks every source whose files are not all in `folder` yet; damaged ones are put aside as `.broken`.

    Args:
      mirror: address prefix that serves each archive under its own name, in place of the table's addresses.
      retry_sec: pause before the first new attempt; it doubles.

    Raises:
      UserError: the folder cannot be made, or an archive cannot be fetched or is not what the table says. What is
        complete, and what came of the others, stays.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be made: {error.strerror}; give another one") from error
    for source in sources:
        for file in source.files:
            _put_aside_if_damaged(folder / file.name, file)
        if all((folder / file.name).is_file() for file in source.files):
            continue
        archive = folder / source.name
        if not archive.is_file():
            url = f"{mirror.rstrip('/')}/{source.name}" if mirror else source.url
            _fetch(url, source, archive, retry_sec)
        _unpack(source, archive)


def verify(sources: Iterable[Source], folder: Path) -> list[Check]:
    """Holds the unpacked files against the sizes, line counts and checksums that are known of them."""
    return [_verify_file(folder / file.name, file) for source in sources for file in source.files]


def _verify_file(path: Path, file: File) -> Check:
    if not path.is_file():
        return Check(path, "missing")
    if file.size and path.stat().st_size != file.size:
        return Check(path, "damaged", f"{path.stat().st_size:,} bytes, should be {file.size:,}")
    if file.md5 and (md5 := _digest(path, "md5")) != file.md5:
        return Check(path, "damaged", f"md5 {md5}, should be {file.md5}")
    if file.lines and (lines := count_lines(path)) != file.lines:
        return Check(path, "damaged", f"{lines:,} lines, should be {file.lines:,}")
    known = [name for name, value in (("size", file.size), ("md5", file.md5), ("lines", file.lines)) if value]
    return Check(path, "ok", " and ".join(known))


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _fetch(url: str, source: Source, archive: Path, retry_sec: float) -> None:
    part = archive.with_name(archive.name + ".part")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == ATTEMPTS:
                raise UserError(
                    f"{url} answers {error.code} {error.reason}: check the address or give another place "
                    "by --mirror"
                ) from error
        except (ValueError, http.client.InvalidURL) as error:
            raise UserError(f"{url} is no address: {error}; give one that begins with https:// by --mirror") from error
        except (OSError, http.client.HTTPException, _Incomplete) as error:
            if attempt == ATTEMPTS:
                raise UserError(
                    f"{url} failed {ATTEMPTS} times, last with: {error}; "
                    f"run again to go on from byte {_size(part):,}"
                ) from error
        time.sleep(retry_sec * 2 ** (attempt - 1))
    _check_archive(source, part, url)
    part.replace(archive)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _transfer(url: str, part: Path) -> None:
    """Appends what is missing to `part`; a server that knows no ranges sends all of it again."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SEC)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing lies beyond what we have
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":
            return
        part.unlink()
        raise _Incomplete("the file at the address is shorter than what was kept of it") from error
    with response, open(part, "ab" if response.status == 206 else "wb") as file:
        start = file.tell()
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else 0
        with _Progress(part.stem, start, total) as progress:
            while block := response.read(_BLOCK_BYTES):
                file.write(block)
                progress.add(len(block))
    if total and _size(part) != total:
        raise _Incomplete(f"the connection ended after {_size(part):,} of {total:,} bytes")


def _put_aside_if_damaged(path: Path, file: File) -> None:
    check = _verify_file(path, file)
    if check.state == "damaged":
        broken = path.with_name(path.name + ".broken")
        path.replace(broken)
        print(f"{path} is not as it should be ({check.detail}): put aside as {broken.name}, fetched again", file=sys.stderr)


def _check_archive(source: Source, part: Path, url: str) -> None:
    """Moves a file that is not the table's aside as `.broken`, and says so."""
    problem = ""
    if source.size and part.stat().st_size != source.size:
        problem = f"has {part.stat().st_size:,} bytes, should have {source.size:,}"
    for algorithm, expected in (("md5", source.md5), ("sha256", source.sha256)):
        if not problem and expected and (found := _digest(part, algorithm)) != expected:
            problem = f"has {algorithm} {found}, should have {expected}"
    if problem:
        broken = part.with_suffix(".broken")
        part.replace(broken)
        raise UserError(
            f"{source.name} from {url} {problem}; it was put aside as {broken}: "
            "download it again or from another --mirror"
        )


def _unpack(source: Source, archive: Path) -> None:
    """Takes the wanted files out of the archive, each written whole or not at all, and removes it.

    An archive that is itself what is wanted stays packed.
    """
    wanted = {file.name: archive.parent / file.name for file in source.files}
    if source.name in wanted:
        return
    try:
        if source.name.endswith((".tgz", ".tar.gz")):
            _unpack_tar(archive, wanted)
        elif source.name.endswith(".zip"):
            _unpack_zip(archive, wanted)
        elif source.name.endswith(".gz"):
            with gzip.open(archive, "rb") as packed:
                _write_whole(packed, next(iter(wanted.values())))
        else:
            return
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"cannot unpack {archive}: {error}; remove it and download again") from error
    missing = [name for name, path in wanted.items() if not path.is_file()]
    if missing:
        raise UserError(
            f"{archive} holds no {missing[0]}, so it is not the archive it should be: "
            "remove it and download again"
        )
    archive.unlink()


def _unpack_tar(archive: Path, wanted: dict[str, Path]) -> None:
    with tarfile.open(archive, "r:gz") as tar:
        left = set(wanted)
        for member in tar:
            name = PurePosixPath(member.name).name
            if name in left and member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                _write_whole(content, wanted[name])
                left.remove(name)
            if not left:
                return


def _unpack_zip(archive: Path, wanted: dict[str, Path]) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            path = wanted.get(PurePosixPath(member.filename).name)
            if path is not None and not member.is_dir():
                with packed.open(member) as content:
                    _write_whole(content, path)


def _write_whole(content: IO[bytes] | gzip.GzipFile, path: Path) -> None:
    part = path.with_name(path.name + ".unpacking")
    try:
        with open(part, "wb") as file:
            shutil.copyfileobj(content, file, _BLOCK_BYTES)
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


class _Progress:
    """One live line on a terminal, a plain line now and then elsewhere."""

    def __init__(self, name: str, start: int, total: int, stream: TextIO | None = None):
        self._name, self._start, self._done, self._total = name, start, start, total
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._show(end="\n")

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._shown > (0.2 if self._live else _PLAIN_INTERVAL_SEC):
            self._shown = now
            self._show(end="" if self._live else "\n")

    def _show(self, end: str) -> None:
        rate = (self._done - self._start) / max(time.monotonic() - self._began, 1e-3)
        text = f"{self._name}  {self._done / 1e6:.1f}"
        if self._total:
            share = self._done / self._total
            bar = f"[{'#' * int(20 * share):20}] " if self._live else ""
            left = (
                f", {(self._total - self._done) / rate:.0f} s left"
                if rate and self._done < self._total
                else ""
            )
            text = f"{self._name}  {bar}{100 * share:.0f} % of {self._total / 1e6:.1f} MB, "
            text += f"{rate / 1e6:.1f} MB/s{left}"
        else:
            text += f" MB, {rate / 1e6:.1f} MB/s"
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            text = "\r" + text[:width].ljust(width)
        print(text, end=end, file=self._stream, flush=True)
