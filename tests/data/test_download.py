import hashlib
import http.server
import threading

import numpy as np
import pytest

from data import DataError
from data.download import download
from tests.support.errors import refuses

CONTENT = np.random.RandomState(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    """On loopback: /whole resumes, /dropped breaks off twice, /wrong has other bytes, /stubborn never resumes."""
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            seen.append((self.path, start))
            if self.path == "/gone":
                return self.send_error(404)
            content = CONTENT[::-1] if self.path == "/wrong" else CONTENT
            if self.path == "/stubborn":
                start = 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            drop = self.path == "/dropped" and sum(path == "/dropped" for path, _ in seen) < 3
            self.wfile.write(content[start : start + 100_000] if drop else content[start:])

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield lambda path: f"http://127.0.0.1:{httpd.server_port}{path}", seen
        httpd.shutdown()


@pytest.fixture
def fetch(server, tmp_path):
    address, seen = server
    file = tmp_path / "sub" / "archive.tar.gz"

    def run(*paths):
        download(file, [address(path) for path in paths], MD5, pause=0)

    return run, file, seen


def test_downloads_the_archive(fetch):
    run, file, _ = fetch
    run("/whole")
    assert file.read_bytes() == CONTENT
    assert [child.name for child in file.parent.iterdir()] == [file.name]


def test_resumes_after_a_dropped_connection(fetch):
    run, file, seen = fetch
    run("/dropped")
    assert file.read_bytes() == CONTENT
    starts = [start for _, start in seen]
    assert len(starts) == 3
    assert 0 == starts[0] < starts[1] < starts[2]


def test_resumes_where_an_earlier_run_stopped(fetch):
    run, file, seen = fetch
    file.parent.mkdir()
    (file.parent / "archive.tar.gz.part").write_bytes(CONTENT[:1000])
    run("/whole")
    assert file.read_bytes() == CONTENT
    assert seen == [("/whole", 1000)]


def test_starts_again_if_the_server_does_not_resume(fetch):
    run, file, _ = fetch
    file.parent.mkdir()
    (file.parent / "archive.tar.gz.part").write_bytes(CONTENT[:1000])
    run("/stubborn")
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 300_000, b"x" * 400_000])
def test_a_foreign_beginning_is_thrown_away(fetch, left):
    run, file, _ = fetch
    file.parent.mkdir()
    (file.parent / "archive.tar.gz.part").write_bytes(left)
    run("/whole")
    assert file.read_bytes() == CONTENT


@pytest.mark.parametrize("first", ["/gone", "/wrong"])
def test_uses_the_second_address(fetch, first):
    run, file, seen = fetch
    run(first, "/whole")
    assert file.read_bytes() == CONTENT
    assert [path for path, _ in seen] == [first, "/whole"]


def test_a_wrong_md5_leaves_nothing_in_place(fetch):
    run, file, _ = fetch
    with refuses(DataError, place=file) as caught:
        run("/wrong")
    assert "MD5" in str(caught.value)
    assert list(file.parent.iterdir()) == []


def test_no_server_is_reported_in_one_line(tmp_path):
    with refuses(DataError, place=tmp_path / "a") as caught:
        download(tmp_path / "a", ["http://127.0.0.1:1/a"], MD5, pause=0)
    assert "ConnectionError" in str(caught.value)


def test_a_file_in_the_way_is_not_overwritten(fetch):
    run, file, seen = fetch
    file.parent.mkdir()
    file.write_bytes(b"mine")
    with refuses(DataError, place=file):
        run("/whole")
    assert file.read_bytes() == b"mine"
    assert seen == []


def test_a_whole_archive_is_not_fetched_again(fetch):
    run, file, seen = fetch
    file.parent.mkdir()
    file.write_bytes(CONTENT)
    run("/whole")
    assert seen == []
