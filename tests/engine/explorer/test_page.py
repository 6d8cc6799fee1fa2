"""The explorer's page: Gradio's server, asked by its own client and clicked through in Chromium."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import requests
from PIL import Image

from engine.explorer import html, page
from engine.explorer.explorer import OPTIONS, Explorer, numbers
from engine.explorer.words import ENGLISH
from engine.inference.trained import find, load
from models import VARIANTS, build_model
from tests.support import archives, odd_pictures
from tests.support.browser import CHROMIUM, DRIVER, NO_BROWSER, open_browser, wait_until
from tests.support.errors import one_line_about
from tests.support.pictures import pictures as natural
from tests.support.runs import ROOT
from tests.support.scripts import tool
from tests.support.trained import write_run

pytestmark = pytest.mark.usefixtures("nano")
ODD = "<img src=x onerror=alert(1)> & ${value} {{value}}"  # a class may be named anything
with_gradio = pytest.mark.skipif(
    not importlib.util.find_spec("gradio"), reason="no gradio: pip install -r requirements/explore.txt"
)
in_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NO_BROWSER)


@pytest.fixture(scope="module")
def home(nano, tmp_path_factory):
    """Two runs over one archive, the second with larger pictures, and picture files."""
    folder = tmp_path_factory.mktemp("home")
    names = [name.encode() for name in [ODD, *archives.CLASSES[1:]]]
    content = archives.members(20, 12, **{"batches.meta": {b"label_names": names}})
    archive = archives.write(folder / "cifar.tar.gz", content)
    write_run(folder / "run", archive)
    write_run(folder / "other", archive, "data.image_size=64")
    (folder / "pictures").mkdir()
    odd_pictures.write(folder / "pictures", np.kron(natural(1)[0, :, 4:28], np.ones((3, 3, 1), np.uint8)))
    (folder / "words.png").write_text("words", encoding="utf-8")
    (folder / "cut.png").write_bytes((folder / "pictures" / "palette.png").read_bytes()[:-40])
    Image.new("1", (14_000, 14_000)).save(folder / "vast.png")
    with open(folder / "heavy.png", "wb") as file:
        file.truncate(50 * 1024**2 + 1)
    return folder


def weights(home, run="run"):
    return home / run / "best_model.pdparams"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """tools/explore.py in a process of its own."""

    def __init__(self, folder, *arguments):
        self.port, self.folder = free_port(), folder
        command = [sys.executable, ROOT / "tests" / "support" / "nano_explore.py", *arguments, "--port", str(self.port)]
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        self.address = f"http://127.0.0.1:{self.port}/"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            env = _environment(TMPDIR=folder, HTTP_PROXY="http://127.0.0.1:9")  # where nobody answers
            self.process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env=env, cwd=ROOT)
        wait_until(lambda: self.process.poll() is not None or self.address in self.said(), 120, self.said)
        assert self.process.poll() is None, self.said()

    def said(self):
        return "".join(file.read_text(encoding="utf-8") for file in (self.out, self.err))

    def end(self, signum=signal.SIGINT):
        self.process.send_signal(signum)
        return self.process.wait(60)


def _environment(**changes):
    return {**os.environ, **{key: str(value) for key, value in changes.items()}}


@pytest.fixture(scope="module")
def server(home, tmp_path_factory):
    """The page with two runs."""
    found = Server(tmp_path_factory.mktemp("server"), "--weights", weights(home), "--compare", weights(home, "other"))
    yield found
    if found.process.poll() is None:
        found.end()


@pytest.fixture
def client(server):
    """A client, which has a session of its own."""
    import gradio_client

    return gradio_client.Client(server.address, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def explorer(home):
    return Explorer([load(*find(weights(home, run), None, [])[:2]) for run in ("run", "other")])


CHOICES = (0, "mean", 0, "mean")  # encoder and head of each stage, as the page has them at first
STATUS, TYPED, PICTURE, TOP, BOTH, STAGE = range(6)  # the answers that are not kept on the server


def look(client, file):
    import gradio_client

    return client.predict(gradio_client.handle_file(str(file)), *CHOICES, api_name="/look_at_file")


def shares(text):
    return [float(share) for share in re.findall(r'data-share="([^"]+)"', text)]


def visible(text):
    return " ".join(re.sub("<[^>]*>", " ", text).split())


@pytest.mark.slow
@with_gradio
def test_files_reach_the_model_unchanged(home, client, explorer):
    for file in sorted((home / "pictures").iterdir()):
        answer = look(client, file)
        expected = [share for top in explorer.top(explorer.look(file)) for _, share in top]
        np.testing.assert_allclose(shares(answer[TOP]), expected, rtol=0, atol=1e-6, err_msg=file.name)
        assert visible(answer[STATUS])


@pytest.mark.slow
@with_gradio
@pytest.mark.parametrize(
    ("name", "reason"), [("words.png", "not a picture"), ("cut.png", "damaged"), ("vast.png", "too large")]
)
def test_a_bad_file_is_one_line_and_the_next_is_seen(home, client, server, name, reason):
    look(client, home / "pictures" / "plain.bmp")
    answer = look(client, home / name)
    assert visible(answer[STATUS]).startswith(f"{name}: ")
    assert reason in answer[STATUS]
    assert not any([answer[PICTURE], *answer[TOP:]])
    assert shares(look(client, home / "pictures" / "plain.bmp")[TOP])
    assert "Traceback" not in server.said()


@pytest.mark.slow
@with_gradio
def test_a_file_that_is_too_heavy_is_not_taken(home, server):
    with open(home / "heavy.png", "rb") as file:
        answer = requests.post(f"{server.address}gradio_api/upload", files={"files": file}, timeout=60)
    assert answer.status_code == 413
    assert "Traceback" not in server.said()


@pytest.mark.slow
@with_gradio
def test_sessions_do_not_see_each_other(server, explorer):
    import gradio_client

    clients = [gradio_client.Client(server.address, verbose=False, analytics_enabled=False) for _ in range(2)]
    jobs = [each.submit(str(i), *CHOICES, api_name="/look_at_number") for i, each in enumerate(clients)]
    for i, job in enumerate(jobs):
        assert visible(job.result()[STATUS]).startswith(f"val:{i}, ")
    for i, each in enumerate(clients):
        answer = each.predict("1,0", *CHOICES, api_name="/choose_region")
        seen = explorer.look(f"val:{i}")
        assert visible(answer[STATUS]).startswith(f"val:{i}, ")
        stage = seen.observed[0].at((1, 0), [0, 0])[0]
        assert visible(answer[STAGE]) == visible(html.stage(seen.observed[0], stage, "mean", ENGLISH))


@pytest.mark.slow
@with_gradio
@pytest.mark.parametrize(
    ("endpoint", "text"), [("/look_at_number", "12"), ("/look_at_number", "x"), ("/choose_region", "2,0")]
)
def test_a_wrong_number_or_region_is_a_line_and_changes_nothing_else(client, endpoint, text):
    client.predict("1", *CHOICES, api_name="/look_at_number")
    answer = client.predict(text, *CHOICES, api_name=endpoint)
    assert 'role="alert"' in answer[STATUS]
    again = client.predict("0,1", *CHOICES, api_name="/choose_region")
    assert visible(again[STATUS]).startswith("val:1, ")


@pytest.mark.slow
@with_gradio
@in_browser
def test_the_page_in_a_browser(home, server, explorer):
    """A number, a click, a choice of head; a file, a bad one, one that is too heavy; nothing comes from elsewhere."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def text(selector):
        return browser.execute_script(f"return document.querySelector('{selector}')?.textContent ?? ''")

    def says(selector, words):
        wait_until(lambda: words in text(selector), 60, lambda: f"{selector}: {text(selector)}")

    def upload(name):
        browser.find_element("css selector", "#file input[type=file]").send_keys(str(home / name))

    with open_browser(performance="ALL") as browser:
        browser.get(server.address)
        wait_until(lambda: browser.find_elements("css selector", "#number textarea"), 60, "no page")
        browser.find_element("css selector", "#number textarea").send_keys("3" + Keys.ENTER)
        says("#status", f"val:3, labeled {archives.CLASSES[3]}")
        observed = explorer.look("val:3").observed[0]

        picture = browser.find_element("css selector", "#picture img")
        width = picture.size["width"]
        ActionChains(browser).move_to_element_with_offset(picture, -width // 4, width // 8).click().perform()
        wait_until(
            lambda: browser.execute_script("return document.querySelector('#region textarea').value") == "1,0", 60, ""
        )
        stage = observed.at((1, 0), [0, 0])[1]
        says("#stage2", f"{numbers(stage, None).regional:.2%} on itself")

        browser.find_elements("css selector", "#head2 input")[2].click()
        says("#stage2", f"{numbers(stage, 1).regional:.2%} on itself")
        for i, likely in enumerate(explorer.top(explorer.look("val:3"))):
            rows = browser.execute_script(f"return document.querySelectorAll('#top table')[{i}].innerText").split("\n")
            assert [name for name, _ in likely] == [row.strip() for row in rows if row.strip() and "%" not in row]
        assert text("#both").count("Rollout: ") == 4  # two models, two stages

        upload("words.png")
        says("#status", "words.png: not a picture")
        assert not browser.find_elements("css selector", "#stage1 img, #picture img")
        upload("heavy.png")
        says("body", 'exceed the maximum allowed size of 50.0 Mb: "heavy.png"')
        upload("pictures/turned.jpg")
        wait_until(lambda: text("#status").strip() == "turned.jpg", 60, lambda: text("#status"))
        assert browser.find_elements("css selector", "#stage1 img")

        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        asked = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
        addresses = {
            request["params"]["request"]["url"] for request in asked if request["method"] == "Network.requestWillBeSent"
        }
        assert any(address.startswith(server.address) for address in addresses)
        assert [x for x in addresses if not x.startswith((server.address, "data:", "blob:"))] == []
        assert "Traceback" not in server.said()


@pytest.mark.slow
@with_gradio
def test_a_port_in_use_is_one_line(home, server, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "explore.py", "--weights", weights(home), "--port", server.port)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, f"--port {server.port}")
    assert server.process.poll() is None


@pytest.mark.slow
@with_gradio
@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_quietly_and_deletes_what_was_uploaded(home, tmp_path, signum, status):
    import gradio_client

    server = Server(tmp_path, "--weights", weights(home))
    client = gradio_client.Client(server.address, verbose=False, analytics_enabled=False)
    look(client, home / "pictures" / "plain.bmp")
    assert list(tmp_path.rglob("plain.bmp"))
    client.close()
    assert server.end(signum) == status
    assert not list(tmp_path.rglob("plain.bmp"))
    assert server.err.read_text(encoding="utf-8") == ""
    assert server.out.read_text(encoding="utf-8").count("\n") == 2  # the config, the address


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--port", "0"], ["--port", "0"]),
        (["--port", "65536"], ["--port", "65536"]),
        (["--port", "many"], ["--port", "many"]),
        (["--weights", "none.pdparams"], ["none.pdparams"]),
        (["--weights", "words.png"], ["words.png"]),
        (["--weights", "two_heads.pdparams"], ["two_heads.pdparams", "rel_pos"]),
        (["--weights", "diverged.pdparams"], ["diverged.pdparams", "NaN"]),
        (["--compare", "none.pdparams"], ["--compare none.pdparams"]),
        (["--compare", "run"], ["--compare run"]),
        (["-o", "data.image_size=none"], ["data.image_size"]),
    ],
)
def test_a_users_mistake_is_one_line(home, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(home)
    monkeypatch.setattr(page, "check_gradio", lambda: None)
    monkeypatch.setattr(page, "serve", lambda *_: pytest.fail("served"))
    other = build_model("regionvit", **{**VARIANTS["regionvit_micro_conv_32"], "num_heads": (2, 2)}, num_classes=10)
    paddle.save(other.state_dict(), "two_heads.pdparams")
    diverged = build_model("regionvit_micro_conv_32", num_classes=10).state_dict()
    diverged["head.bias"] = diverged["head.bias"] * np.nan
    paddle.save(diverged, "diverged.pdparams")
    given = [] if "--weights" in arguments else ["--weights", weights(home)]
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "explore.py", *given, "-c", home / "run" / "config.yaml", *arguments)
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, *parts)


def test_gradio_that_is_missing_is_named(home, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "gradio" else object())
    with pytest.raises(SystemExit) as exit:
        tool(monkeypatch, "explore.py", "--weights", weights(home))
    assert exit.value.code == 2
    one_line_about(capsys.readouterr().err, "gradio", page.INSTALL)


def test_an_export_is_refused(home, monkeypatch, capsys):
    from engine.errors import UserError
    from engine.inference import attention

    monkeypatch.setattr(attention, "Exported", paddle.nn.Layer)  # what each model is
    trained = load(*find(weights(home), None, [])[:2])
    with pytest.raises(UserError, match=Path(weights(home)).name) as caught:
        Explorer([trained])
    assert caught.value.key == "--weights"
    with pytest.raises(UserError, match="--compare ") as caught:
        attention.refuse_export(trained, OPTIONS[1])
    assert caught.value.key == "--compare"
