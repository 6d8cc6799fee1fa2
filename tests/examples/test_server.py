"""examples/server/, started and asked as its users do: right answers to many, limits, a clean stop."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.browser import wait_until
from tests.support.examples import CLOSE, EXAMPLES, changed, python

pytestmark = pytest.mark.slow
SERVE = EXAMPLES / "server" / "serve.py"
SHOWN = ["turned.jpg", "transparent.png", "photo.jpg", "16 bits.png"]
WAITING = ("--largest-batch", "16", "--longest-wait", "600000", "--requests", "2")


class Server:
    """A server of an export, at a port that is free."""

    def __init__(self, export, errors, *options):
        self.errors = errors
        self.process = subprocess.Popen(
            [python(), SERVE, export, "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=errors.open("wb"),
            encoding="utf-8",
        )
        line = self.process.stdout.readline()
        assert line, errors.read_text(encoding="utf-8")
        self.port = int(re.search(r":(\d+)/predict", line)[1])

    def ask(self, method, path, body=None, headers=None):
        """Return the status of an answer, its headers and what its JSON says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def predict(self, *files, path="/predict?top=10"):
        """Send files of a form: (name, content) of each."""
        return self.ask("POST", path, *form(*files))

    def health(self):
        return self.ask("GET", "/health")[2]

    @contextlib.contextmanager
    def request(self, body, headers):
        """Send a request, and yield the connection before there is an answer."""
        lines = [f"{name}: {value}" for name, value in {"Host": "a", "Content-Length": len(body), **headers}.items()]
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("\r\n".join(["POST /predict HTTP/1.1", *lines, "", ""]).encode() + body)
            yield connection

    def half_a_request(self):
        """Send the beginning of a request, like `request`."""
        body, headers = form(("half.png", bytes(1000)))
        return self.request(body[:500], {**headers, "Content-Length": len(body)})

    def signal(self, number):
        """Send it a signal, and wait until it accepts no connections."""
        self.process.send_signal(number)
        wait_until(self.refuses, 10, "it still accepts connections")

    def refuses(self):
        with contextlib.closing(socket.socket()) as client:
            return client.connect_ex(("127.0.0.1", self.port)) != 0

    def ended(self):
        """Return its exit status and what it said to stderr."""
        status = self.process.wait(30)
        self.process.stdout.close()
        return status, self.errors.read_text(encoding="utf-8")


def form(*files):
    """Return the body and the headers of a form with files, as a browser sends it."""
    parts = (
        b'--limit\r\nContent-Disposition: form-data; name="pictures"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), content)
        for name, content in files
    )
    return b"".join(parts) + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}


@contextlib.contextmanager
def serving(export, folder, *options):
    server = Server(export, folder / "errors.txt", *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.signal(signal.SIGTERM)
            assert server.ended() == (0, "")


@pytest.fixture(scope="module")
def server(run, tmp_path_factory):
    options = ("--longest-wait", "200", "--megabytes", "1", "--megapixels", "1")
    with serving(run.export(), tmp_path_factory.mktemp("server"), *options) as server:
        yield server


@pytest.fixture(scope="module")
def waiting(run, tmp_path_factory):
    """A server that lets pictures wait for a full batch, longer than any test."""
    with serving(run.export(), tmp_path_factory.mktemp("waiting"), *WAITING, "--seconds", "60") as server:
        yield server


def assert_predicted(answer, names, expected):
    status, _, said = answer
    assert status == 200, said
    assert [prediction["picture"] for prediction in said["predictions"]] == names
    for prediction, probabilities in zip(said["predictions"], expected, strict=True):
        top = {guess["class"]: guess["probability"] for guess in prediction["top"]}
        assert top == pytest.approx(probabilities, abs=CLOSE)
        assert list(top.values()) == sorted(top.values(), reverse=True)


def test_answers_are_those_of_predict_in_the_order_of_the_pictures(run, pictures, server):
    answer = server.predict(*((name, pictures[name].read_bytes()) for name in SHOWN))
    assert_predicted(answer, SHOWN, run.predicted(run.export(), *(pictures[name] for name in SHOWN)))


def test_in_int8_pictures_do_not_change_each_others_answers(run, pictures, tmp_path):
    files = [(name, pictures[name].read_bytes()) for name in SHOWN]
    with serving(run.export(precision="int8"), tmp_path, "--longest-wait", "200") as server:
        _, _, together = server.predict(*files)
        alone = [server.predict(file)[2]["predictions"][0] for file in files]
    assert together["predictions"] == alone


def test_a_picture_may_be_the_whole_body(run, pictures, server):
    picture = pictures["turned.jpg"]
    answer = server.ask("POST", "/predict?top=10", picture.read_bytes(), {"Content-Type": "image/jpeg"})
    assert_predicted(answer, ["body"], run.predicted(run.export(), picture))


def test_each_of_many_clients_gets_its_own_answers(run, pictures, server):
    names = 12 * SHOWN
    before = server.health()
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda name: server.predict((name, pictures[name].read_bytes())), names))
    for name, answer in zip(names, answers, strict=True):
        assert_predicted(answer, [name], run.predicted(run.export(), pictures[name]))
    after = server.health()
    assert after["pictures"] - before["pictures"] == len(names)
    assert after["batches"] - before["batches"] < len(names)


def huge_header():
    """Return the beginning of a PNG that says it has 100 million pixels: less than a hundred bytes."""
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


BAD = {
    "truncated": (422, lambda good: good[: len(good) // 2]),
    "not a picture": (422, lambda good: b"words"),
    "empty": (422, lambda good: b""),
    "of too many pixels": (413, lambda good: huge_header()),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_is_named_in_one_line(pictures, server, kind):
    expected, spoil = BAD[kind]
    good = pictures["photo.jpg"].read_bytes()
    status, _, said = server.predict(("good.jpg", good), (f"{kind}.jpg", spoil(good)))
    assert status == expected
    assert f"picture 2 ({kind}.jpg)" in said["detail"]
    assert "\n" not in said["detail"]
    assert server.predict(("good.jpg", good))[0] == 200


def test_a_request_has_limits(pictures, server):
    good, (large, headers) = pictures["small.png"].read_bytes(), form(("large.png", bytes(1_000_000)))
    in_pieces = (large[i : i + 50_000] for i in range(0, len(large), 50_000))  # its length is not declared
    for body in large, in_pieces:
        status, _, said = server.ask("POST", "/predict", body, headers)
        assert (status, "1 MB" in said["detail"]) == (413, True)
    status, _, said = server.predict(*([("good.png", good)] * 17))
    assert (status, "16" in said["detail"]) == (400, True)
    assert server.predict()[0] == 422
    assert server.predict(*([("good.png", good)] * 16))[0] == 200


def test_a_full_server_refuses_until_a_client_hangs_up(pictures, waiting):
    def has(requests):
        wait_until(lambda: waiting.health()["requests"] == requests, 10, waiting.health)

    good = pictures["small.png"].read_bytes()
    with waiting.half_a_request(), waiting.request(*form(("good.png", good))):
        has(2)
        status, headers, said = waiting.predict(("good.png", good))
        assert (status, headers["Retry-After"]) == (503, "1"), said
    has(0)
    assert waiting.predict(*([("good.png", good)] * 16))[0] == 200  # a full batch does not wait
    assert waiting.health()["pictures"] == 16  # what nobody waits for is not computed


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=["once", "twice"])
def test_a_stop_refuses_what_waits_and_what_has_not_arrived(run, pictures, tmp_path, signals):
    good = pictures["small.png"].read_bytes()
    with (
        serving(run.export(), tmp_path, *WAITING, "--seconds", "2") as server,
        server.request(*form(("good.png", good))) as waits,
        server.half_a_request() as arrives,
    ):
        wait_until(lambda: server.health()["requests"] == 2, 10, server.health)
        for number in signals:
            server.signal(number)
        assert server.ended() == (0, "")
        # On Python 3.11 and older a second Ctrl-C does not leave them their time.
        assert waits.recv(100).split()[1] in (b"504", b"503")
        assert arrives.recv(100).split()[1] in (b"408", b"503")


@pytest.mark.parametrize("wrong", ["folder", "task", "port"])
def test_what_cannot_be_served_is_said_in_one_line(run, server, tmp_path, wrong):
    export, port = run.export(), 0
    if wrong == "folder":
        export = tmp_path
    elif wrong == "task":
        export = changed(export, tmp_path / "maps", lambda description: description.update(task="features"))
    else:
        port = server.port
    said = subprocess.run(
        [python(), SERVE, export, "--port", str(port)], capture_output=True, encoding="utf-8", timeout=60
    )
    assert (said.returncode, said.stdout, len(said.stderr.splitlines())) == (2, "", 1)
    assert str(server.port if wrong == "port" else export) in said.stderr
