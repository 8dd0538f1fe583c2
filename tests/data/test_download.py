"""The downloader against a local server: mirror, resume, truncation, damage, unpacking."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jax_mlperf.data import download as fetch
from jax_mlperf.data import transformer
from jax_mlperf.data.sources import TRANSFORMER, File, Source
from jax_mlperf.errors import UserError

TEXT = b"".join(b"line %d\n" % i for i in range(20_000))


class Server:
    """Serves `files`; `cut` ends that many next answers after half of their bytes."""

    def __init__(self):
        self.files, self.asked, self.cut, self.ranges, self.status = {}, [], 0, True, 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/files"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path.rsplit("/", 1)[-1])
        if content is None or self.status != 200:
            request.send_error(404 if content is None else self.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = content[start:]
        request.send_response(206 if wanted and self.ranges else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.cut:
            self.cut -= 1
            body = body[: len(body) // 2]
        request.wfile.write(body)
        request.wfile.flush()
        request.connection.close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def plain_source(name="text.txt", content=TEXT, **known):
    return Source(f"http://home.invalid/{name}", (File(name),), md5=hashlib.md5(content).hexdigest(), **known)


def tar_archive(**members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"training/{name}.txt")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zip_archive(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("training")
        for name, content in members.items():
            file.writestr(f"training/{name}.txt", content)
    return packed.getvalue()


def test_a_mirror_serves_archives_under_their_names(server, tmp_path):
    server.files["text.txt"] = TEXT
    fetch.download([plain_source(size=len(TEXT))], tmp_path, mirror=server.url + "/")
    assert (tmp_path / "text.txt").read_bytes() == TEXT
    assert server.asked == [("/files/text.txt", None)]
    fetch.download([plain_source(size=len(TEXT))], tmp_path, mirror=server.url)
    assert len(server.asked) == 1  # what is there is not fetched again


def test_truncated_answers_are_continued_where_they_ended(server, tmp_path):
    server.files["text.txt"] = TEXT
    server.cut = 2
    fetch.download([plain_source()], tmp_path, mirror=server.url, retry_sec=0)
    half = len(TEXT) // 2
    assert [wanted for _, wanted in server.asked] == [
        None,
        f"bytes={half}-",
        f"bytes={half + (len(TEXT) - half) // 2}-",
    ]
    assert (tmp_path / "text.txt").read_bytes() == TEXT


def test_an_interrupted_download_asks_for_the_rest_only(server, tmp_path):
    server.files["text.txt"] = TEXT
    (tmp_path / "text.txt.part").write_bytes(TEXT[:12_345])
    fetch.download([plain_source()], tmp_path, mirror=server.url)
    assert server.asked == [("/files/text.txt", "bytes=12345-")]
    assert (tmp_path / "text.txt").read_bytes() == TEXT
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_complete_part_needs_no_more_bytes(server, tmp_path):
    server.files["text.txt"] = TEXT
    (tmp_path / "text.txt.part").write_bytes(TEXT)
    fetch.download([plain_source()], tmp_path, mirror=server.url)
    assert (tmp_path / "text.txt").read_bytes() == TEXT


def test_a_part_longer_than_the_file_is_begun_anew(server, tmp_path):
    server.files["text.txt"] = TEXT
    (tmp_path / "text.txt.part").write_bytes(TEXT + b"more")
    fetch.download([plain_source()], tmp_path, mirror=server.url, retry_sec=0)
    assert (tmp_path / "text.txt").read_bytes() == TEXT


def test_a_server_without_ranges_sends_everything_again(server, tmp_path):
    server.files["text.txt"] = TEXT
    server.ranges = False
    (tmp_path / "text.txt.part").write_bytes(TEXT[:100])
    fetch.download([plain_source()], tmp_path, mirror=server.url)
    assert (tmp_path / "text.txt").read_bytes() == TEXT


@pytest.mark.parametrize("known", [{}, {"size": len(TEXT)}, {"sha256": hashlib.sha256(TEXT).hexdigest()}])
def test_a_damaged_file_is_put_aside_and_nothing_else_is_lost(server, tmp_path, known):
    damaged = TEXT[:-2] + (b"X\n" if known.get("size") is None else b"XX\n")
    server.files = {"first.txt": TEXT, "text.txt": damaged}
    source = Source(
        "http://home.invalid/text.txt", (File("text.txt"),), **({"md5": plain_source().md5} | known)
    )
    with pytest.raises(
        UserError, match=r"text\.txt from http.*should have .*put aside as .*\.broken"
    ) as error:
        fetch.download([plain_source("first.txt"), source], tmp_path, mirror=server.url)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} == {"first.txt", "text.txt.broken"}
    assert (tmp_path / "first.txt").read_bytes() == TEXT
    server.files["text.txt"] = TEXT  # mended at the source: the next run fetches it whole
    fetch.download([plain_source("first.txt"), source], tmp_path, mirror=server.url)
    assert (tmp_path / "text.txt").read_bytes() == TEXT


def test_a_file_that_was_damaged_later_is_put_aside_and_fetched_again(server, tmp_path, capsys):
    server.files = {"text.txt": TEXT}
    source = Source("http://home.invalid/text.txt", (File("text.txt", lines=20_000),), md5=hashlib.md5(TEXT).hexdigest())
    (tmp_path / "text.txt").write_bytes(TEXT[:100])
    fetch.download([source], tmp_path, mirror=server.url)
    assert (tmp_path / "text.txt").read_bytes() == TEXT and (tmp_path / "text.txt.broken").read_bytes() == TEXT[:100]
    assert "should be 20,000): put aside as text.txt.broken, fetched again" in capsys.readouterr().err
    fetch.download([source], tmp_path, mirror=server.url)
    assert len(server.asked) == 1, "what is whole stays"


def test_errors_of_the_server(server, tmp_path):
    with pytest.raises(UserError, match="answers 404"):
        fetch.download([plain_source()], tmp_path, mirror=server.url, retry_sec=0)
    assert len(server.asked) == 1
    server.files["text.txt"], server.status = TEXT, 503
    with pytest.raises(UserError, match="answers 503"):
        fetch.download([plain_source()], tmp_path, mirror=server.url, retry_sec=0)
    assert len(server.asked) == 1 + fetch.ATTEMPTS
    server.status, server.cut = 200, 10**6
    with pytest.raises(UserError, match=r"failed 5 times.*run again to go on from byte"):
        fetch.download([plain_source()], tmp_path, mirror=server.url, retry_sec=0)


@pytest.mark.parametrize("mirror", ["gibberish", "ftp//example.org", "http://[1"])
def test_a_mirror_that_is_no_address(tmp_path, mirror):
    with pytest.raises(UserError, match=r"text\.txt is no address: .*--mirror"):
        fetch.download([plain_source()], tmp_path, mirror=mirror, retry_sec=0)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file.* cannot be made"):
            fetch.download([plain_source()], folder, retry_sec=0)


def test_unpacking(server, tmp_path):
    server.files = {"corpus.tgz": tar_archive(wanted=TEXT, other=b"no"), "val.en.gz": gzip.compress(TEXT)}
    sources = [
        Source("http://home.invalid/corpus.tgz", (File("wanted.txt", len(TEXT), lines=20_000),)),
        Source("http://home.invalid/val.en.gz", (File("val.en", lines=20_001),)),
    ]
    fetch.download(sources, tmp_path, mirror=server.url)
    assert {path.name for path in tmp_path.iterdir()} == {"wanted.txt", "val.en"}
    checks = fetch.verify(sources, tmp_path)
    assert [(check.path.name, check.state) for check in checks] == [
        ("wanted.txt", "ok"),
        ("val.en", "damaged"),
    ]
    assert checks[1].detail == "20,000 lines, should be 20,001"
    (tmp_path / "wanted.txt").unlink()
    assert fetch.verify(sources, tmp_path)[0].state == "missing"


def damaged_zip():
    content = bytearray(zip_archive(wanted=TEXT))
    content[len(content) // 2] ^= 255
    return bytes(content)


def test_zip_members_are_taken_out_by_their_base_name(server, tmp_path):
    server.files["set.zip"] = zip_archive(wanted=TEXT, other=b"no")
    source = Source("http://home.invalid/set.zip", (File("wanted.txt", len(TEXT), lines=20_000),))
    fetch.download([source], tmp_path, mirror=server.url)
    assert [path.name for path in tmp_path.iterdir()] == ["wanted.txt"]
    assert (tmp_path / "wanted.txt").read_bytes() == TEXT
    (tmp_path / "wanted.txt").unlink()
    for content in (zip_archive(other=TEXT), b"not an archive", zip_archive(wanted=TEXT)[:-20], damaged_zip()):
        server.files["set.zip"] = content
        with pytest.raises(UserError, match="remove it and download again"):
            fetch.download([source], tmp_path, mirror=server.url)
        assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]
        (tmp_path / "set.zip").unlink()


@pytest.mark.parametrize(
    "content", [tar_archive(other=TEXT), b"not an archive", tar_archive(wanted=TEXT)[:-2000]]
)
def test_archives_that_are_none(server, tmp_path, content):
    server.files["corpus.tgz"] = content
    with pytest.raises(UserError, match="remove it and download again"):
        fetch.download(
            [Source("http://home.invalid/corpus.tgz", (File("wanted.txt"),))], tmp_path, mirror=server.url
        )
    assert not (tmp_path / "wanted.txt").exists()


def test_progress_is_a_live_line_on_a_terminal_and_plain_lines_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream in (io.StringIO(), Terminal()):
        with fetch._Progress("archive.tgz", 0, 2_000_000, stream) as progress:
            progress._shown -= 100
            progress.add(1_000_000)
            progress.add(1_000_000)
        shown = stream.getvalue()
        assert "50 % of 2.0 MB" in shown and "100 % of 2.0 MB" in shown
        assert ("\r" in shown) == ("[####" in shown) == stream.isatty()
        assert shown.endswith("\n")


def test_the_table_names_all_that_prepare_reads(tmp_path):
    for variant, sources in TRANSFORMER.items():
        settings = transformer.VARIANTS[variant]
        names = {file.name for source in sources for file in source.files}
        assert {path.name for path, _ in transformer.required_files(tmp_path, settings)} <= names
        assert all(source.url.startswith("https://") for source in sources)
    training = [
        file.lines for source in TRANSFORMER["wmt"][:3] for file in source.files if file.name.endswith(".en")
    ]
    assert sum(training) == 4_590_101


def test_verify_knows_the_real_files(shared_data):
    import dataclasses

    settings = dataclasses.replace(transformer.VARIANTS["wmt"], raw_dir=str(shared_data / "wmt"))
    states = {check.path.name: check.state for check in transformer.verify("unused", settings)}
    assert {name for name, state in states.items() if state == "ok"} == {
        "newstest2014.en",
        "newstest2014.de",
        transformer.PUBLISHED_VOCABULARY,
    }
    assert "damaged" not in states.values()
