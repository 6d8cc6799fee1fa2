"""The page of an export for the web, served by Python's own server, in Chromium without a screen."""

import base64
import json
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests.support.browser import CHROMIUM, DRIVER, NO_BROWSER, open_browser, wait_until
from tests.support.examples import AS_TRAINED, IN_FLOAT32
from tests.support.node import NO_NPM, NPM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NO_BROWSER),
    pytest.mark.skipif(not NPM, reason=NO_NPM),
]
# In int8 the last digit of a float32 may move a number to the next of 255 levels: the demo's by up to 0.0022, and here
# a temperature of 0.1 makes more of it.
CLOSE = {"float32": 1e-3, "int8": 0.02}
LONG = "<img src=x onerror=alert(1)> " + "a class of a very long name " * 4 + "x" * 80
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
LINES = """
return [...document.querySelectorAll("#classes li")].map(
  (line) => [line.querySelector("span").textContent, Number(line.dataset.probability)]);
"""
HAND_OVER = """
const [kind, name, content] = arguments;
const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], name));
const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
  : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
document.getElementById("drop").dispatchEvent(event);
"""


@pytest.fixture(scope="module")
def browser():
    with open_browser(performance="ALL") as driver:
        yield driver


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """A folder with the page, a description of the export and its program, and its address."""
    folder = shutil.copytree(run.export("web"), tmp_path_factory.mktemp("served") / "web")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
    try:
        (port,) = re.findall(r"port (\d+)", server.stdout.readline())
        yield folder, f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def page(browser, served, run):
    """The page with the export that was served at first, opened."""
    _put(run.export("web"), served[0])
    _open(browser, served[1])
    return browser


def _put(export, folder):
    """Let a served page have another export."""
    for name in ("preprocessing.json", "inference.onnx"):
        shutil.copy(export / name, folder)


def _open(browser, address):
    browser.get(address)
    ready = "return !document.getElementById('panes').hidden || document.getElementById('error').textContent"
    wait_until(lambda: browser.execute_script(ready), 60, "the page does not start")


def error(browser):
    (text,) = browser.find_elements("id", "error")
    return text.text


def answer(browser, hand_over):
    """What the page says after a picture was handed over: {class: probability}, the likeliest first."""
    browser.execute_script("document.getElementById('classes').replaceChildren()")
    hand_over()
    wait_until(lambda: browser.execute_script(LINES) or error(browser), 60, "no answer")
    assert error(browser) == ""
    lines = browser.execute_script(LINES)
    assert [share for _, share in lines] == sorted((share for _, share in lines), reverse=True)
    return dict(lines)


def chosen(browser, path):
    return answer(browser, lambda: browser.find_element("id", "file").send_keys(str(path)))


@pytest.mark.parametrize(("precision", "overrides"), [("float32", AS_TRAINED), ("float32", IN_FLOAT32), ("int8", ())])
def test_the_page_says_what_predict_says(browser, served, run, pictures, precision, overrides):
    export = run.export("web" if (precision, overrides) == ("float32", AS_TRAINED) else "onnx", precision, overrides)
    _put(export, served[0])
    _open(browser, served[1])
    expected = run.predicted(export, *pictures.values())
    for probabilities, (name, path) in zip(expected, pictures.items(), strict=True):
        assert chosen(browser, path) == pytest.approx(probabilities, abs=CLOSE[precision]), name


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_may_be_dropped_or_pasted(page, run, pictures, way):
    content = base64.b64encode(pictures["photo.jpg"].read_bytes()).decode()
    said = answer(page, lambda: page.execute_script(HAND_OVER, way, "photo.jpg", content))
    (expected,) = run.predicted(run.export("web"), pictures["photo.jpg"])
    assert said == pytest.approx(expected, abs=CLOSE["float32"])
    assert page.find_element("id", "first").text == max(expected, key=expected.get)


def test_only_the_server_of_the_page_is_asked(browser, served, run, pictures):
    _put(run.export("web"), served[0])
    for log in ("performance", "browser"):  # what was before
        browser.get_log(log)
    _open(browser, served[1])
    chosen(browser, pictures["photo.jpg"])
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert len([url for url in asked if url.startswith(served[1])]) > 5
    assert [url for url in asked if not url.startswith((served[1], "blob:http://127.0.0.1", "data:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_file_that_is_no_picture_is_named_and_the_next_picture_read(page, pictures, tmp_path):
    (tmp_path / "words.txt").write_text("words", encoding="utf-8")
    page.find_element("id", "file").send_keys(str(tmp_path / "words.txt"))
    wait_until(lambda: error(page), 20, "no complaint")
    assert "words.txt" in error(page)
    assert not page.find_element("id", "results").is_displayed()
    page.find_element("id", "file").send_keys(str(pictures["photo.jpg"]))
    wait_until(lambda: page.find_element("id", "results").is_displayed(), 20, "no answer")
    assert error(page) == ""


def test_a_picture_that_no_canvas_holds_is_refused(page, tmp_path):
    Image.new("L", (70000, 2), 100).save(tmp_path / "long.png")
    page.find_element("id", "file").send_keys(str(tmp_path / "long.png"))
    wait_until(lambda: error(page) or page.find_element("id", "results").is_displayed(), 20, "no answer")
    assert "long.png" in error(page)
    assert "70000 x 2" in error(page)
    assert not page.find_element("id", "results").is_displayed()


def test_the_page_says_in_a_line_why_it_cannot_start(browser, served, run):
    folder, address = served
    _put(run.export("web"), folder)
    (folder / "inference.onnx").unlink()
    _open(browser, address)
    assert "inference.onnx" in error(browser)
    (folder / "inference.onnx").write_bytes(b"no program")
    _open(browser, address)
    assert "\n" not in error(browser)
    script = {"source": "delete window.WebAssembly"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        _open(browser, address)
        assert "WebAssembly" in error(browser)
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    browser.get((folder / "index.html").as_uri())  # without a server, browsers load no modules
    hint = browser.find_element("id", "unstarted")
    wait_until(hint.is_displayed, 20, "no hint")
    assert "http.server" in hint.text


def test_a_class_may_be_named_anything_and_a_phone_shows_it(browser, served, run, pictures):
    folder, address = served
    _put(run.export("web"), folder)
    description = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    description["classes"] = [f"{LONG} {i}" for i in range(10)]
    (folder / "preprocessing.json").write_text(json.dumps(description), encoding="utf-8")
    browser.get_log("browser")  # what was before
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        _open(browser, address)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]
        assert set(chosen(browser, pictures["large.png"])) == set(description["classes"])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]
        shown = "return [...document.querySelectorAll('#classes li')].filter(line => line.offsetHeight).length"
        assert browser.execute_script(shown) == 5
        browser.find_element("id", "more").click()
        assert browser.execute_script(shown) == 10
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_speaks_chinese_where_the_browser_does(browser, served, run, pictures):
    _put(run.export("web"), served[0])
    script = {"source": "Object.defineProperty(navigator, 'language', { get: () => 'zh-CN' })"}
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", script)
    try:
        _open(browser, served[1])
        chosen(browser, pictures["small.png"])
        assert browser.execute_script("return document.documentElement.lang") == "zh-CN"
        for element in browser.find_elements("css selector", "[data-text], #sure, #more"):
            assert re.search("[\u4e00-\u9fff]", element.text) or not element.is_displayed(), element.text
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
