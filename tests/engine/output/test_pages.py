"""What a browser shows of the report and of the dashboard: Chromium without a screen, where it is installed."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

import eval as eval_script
from data.dataset import HELD_OUT
from engine.figures import predictions
from engine.history import read_history
from engine.output.dashboard import BEST, HPARAMS
from engine.system.atomic import sha256sum
from engine.weights.temperature import write_note
from tests.support import archives
from tests.support.browser import CHROMIUM, DRIVER, NO_BROWSER, open_browser, wait_until
from tests.support.runs import script, train

ODD = "<img src=x onerror=alert(1)> & $\\frac{"  # a class may be named anything

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("nano"),
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=NO_BROWSER),
]


@pytest.fixture(scope="module")
def browser():
    with open_browser() as driver:
        yield driver


@pytest.fixture(scope="module")
def output(nano, tmp_path_factory):
    """The folder of a run of two epochs with everything on its dashboard, evaluated with a temperature and a report."""
    folder = tmp_path_factory.mktemp("run")
    names = [name.encode() for name in [ODD, *archives.CLASSES[1:]]]
    content = archives.members(train=100, test=40, **{"batches.meta": {b"label_names": names}})
    archive = archives.write(folder / "cifar.tar.gz", content)
    with pytest.MonkeyPatch.context() as monkeypatch:
        train(monkeypatch, archive, folder / "run", "train.prediction_interval=1", "records.histograms=1")
        weights = folder / "run" / "best_model.pdparams"
        write_note(weights, 0.7, sha256sum(weights), 20, HELD_OUT)
        script(monkeypatch, eval_script.main, "--weights", weights, "--report")
    return folder / "run"


@pytest.fixture(scope="module")
def dashboard(output):
    """The address of VisualDL's server over the run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = Path(sys.executable).parent / "visualdl"
    server = subprocess.Popen(
        [command, "--logdir", output, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: _answers(port), 60, "VisualDL's server does not answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def complaints(browser, of):
    """What the console has complained about since the last call; VisualDL's own statistics, offline, are not ours."""
    entries = browser.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE" and of in entry["message"]]


def test_the_report_opens_from_disk_and_needs_nothing_else(browser, output, tmp_path):
    shutil.copy(output / "report.html", tmp_path)  # with nothing beside it
    browser.get((tmp_path / "report.html").as_uri())
    assert complaints(browser, of="") == []
    images = browser.execute_script("return [...document.images].map(i => [i.alt, i.complete && i.naturalWidth])")
    assert all(alt for alt, _ in images)
    assert len(images) == len(predictions.OF_PREDICTIONS) + 2  # and two learning curves
    assert all(width > 300 for _, width in images), images
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith("data:") for name in loaded)


def test_the_report_shows_the_numbers_of_eval_json(browser, output):
    measured = json.loads((output / "eval.json").read_text(encoding="utf-8"))
    browser.get((output / "report.html").as_uri())
    names, numbers = _texts(browser, "dl.headline dt"), _texts(browser, "dl.headline dd:not(.small)")
    assert dict(list(zip(names, numbers, strict=True))[:5]) == {
        "top-1": f"{measured['top1']:.2%}",
        "top-5": f"{measured['top5']:.2%}",
        "cross entropy": f"{measured['cross_entropy']:.4f}",
        "loss with label smoothing 0.1": f"{measured['loss']:.4f}",
        "calibration error": f"{measured['ece']:.2%}",
    }
    rows = [row.split() for row in _texts(browser, "#per-class tr")[2:]]  # below the head and the odd class
    classes = list(enumerate(zip(measured["classes"], measured["per_class"], strict=True)))[1:]
    for (number, (name, quality)), row in zip(classes, rows, strict=True):
        precision, recall, f1 = (f"{quality[key]:.2%}" for key in ("precision", "recall", "f1"))
        low, high = quality["recall_interval"]
        range = [f"{100 * low:.1f}", "to", f"{high:.1%}"]
        assert row == [str(number), name, precision, recall, *range, f1, str(quality["images"])]
    page = browser.find_element("tag name", "body").text
    for fact in (measured["provenance"]["weights_sha256"], measured["provenance"]["archive_md5"], measured["device"]):
        assert fact in page
    assert "name: regionvit_micro_conv_32" in page


def test_a_class_may_be_named_anything_in_the_report(browser, output):
    browser.get((output / "report.html").as_uri())
    assert _texts(browser, "#per-class td")[:2] == ["0", ODD]
    assert complaints(browser, of="") == []


@pytest.mark.parametrize("width", [390, 700, 1500])
def test_the_report_is_readable_on_any_screen(browser, output, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get((output / "report.html").as_uri())
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        rows = browser.execute_script(  # how many cards begin at the same height
            "const tops = [...document.querySelectorAll('dl.headline div')].map(card => card.offsetTop); "
            "return [...new Set(tops)].map(top => tops.filter(other => other == top).length)"
        )
        assert rows == {390: [2, 2, 2], 700: [3, 3], 1500: [6]}[width]
        lines = browser.execute_script(  # how many lines the names of classes and the numbers take
            "return [...document.querySelectorAll('#per-class tr:nth-child(n+3) td, #per-class th')].map(cell => { "
            "const range = document.createRange(); range.selectNodeContents(cell.querySelector('span') ?? cell); "
            "return new Set([...range.getClientRects()].map(box => Math.round(box.top))).size })"
        )
        assert set(lines) == {1}
        # Letters of 9 points are 9 pixels high or more: the figures' pixels per inch, at 144 of their own.
        scales = browser.execute_script("return [...document.images].map(i => 144 * i.clientWidth / i.naturalWidth)")
        assert min(scales) >= 71.5
        scrolled = browser.execute_script(
            "return [...document.querySelectorAll('.figure')].filter(box => box.scrollWidth > box.clientWidth).length"
        )
        assert scrolled == 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("scalar", ["curves", "optimizer", "performance"]),
        ("sample/image", ["augmented", "confusion_matrix", "mistakes", "predictions"]),
        ("sample/text", ["config", "provenance", "model.name: regionvit_micro_conv_32"]),
        ("histogram", ["cls_token gradients", "layers.0 parameters", "head gradients"]),
        ("hyper-parameter", [*HPARAMS, "regionvit_micro_conv_32", *BEST.values()]),
    ],
)
def test_every_page_of_the_dashboard_shows_the_run(browser, dashboard, page, words):
    _open(browser, dashboard, page)

    def missing():
        text = browser.execute_script("return document.body.textContent")  # what has been scrolled away, too
        return [word for word in words if word not in text]

    wait_until(lambda: not missing(), 30, lambda: f"{page} does not show {missing()}")
    assert complaints(browser, of=dashboard) == []


def test_parallel_coordinates_open_in_a_narrow_window_too(browser, dashboard):
    """With a name that is wider than its column the page hangs; the columns of this window have the least width."""
    size = browser.get_window_size()
    browser.set_window_size(900, 1000)
    try:
        _open(browser, dashboard, "hyper-parameter")
        (tab,) = browser.find_elements("xpath", "//a[contains(text(), 'Parallel')]")
        tab.click()
        axes = "return [...document.querySelectorAll('svg .indicator text')].map(text => text.textContent)"
        wait_until(lambda: browser.execute_script(axes) == [*HPARAMS, *BEST.values()], 60, "no axes")
    finally:
        browser.set_window_size(size["width"], size["height"])


def test_the_dashboards_pictures_load(browser, dashboard):
    _open(browser, dashboard, "sample/image")
    loaded = "return [...document.images].filter(i => i.naturalWidth > 300).length"
    wait_until(lambda: browser.execute_script(loaded) >= 1, 30, "no picture")


def test_the_dashboards_curves_open_first_and_are_those_of_the_history(browser, dashboard, output):
    _open(browser, dashboard, "scalar")
    asked = "return performance.getEntriesByType('resource').map(e => e.name).filter(n => n.includes('scalar/list'))"
    wait_until(lambda: len(set(browser.execute_script(asked))) >= 4, 60, "no four charts")
    for address in set(browser.execute_script(asked)):
        browser.set_script_timeout(20)
        rows = browser.execute_async_script(
            "fetch(arguments[0]).then(answer => answer.json()).then(content => arguments[1](content.data))", address
        )
        _, quantity, split = unquote(address.partition("tag=")[2]).split("/")
        points = [point for point in read_history(output / "history.csv") if point.split == split]
        if split == "val":
            assert rows.pop(0)[1:] == [0, "nan"]  # so that the chart is there from the start
        assert [row[1] for row in rows] == [point.step for point in points]
        assert [row[2] for row in rows] == pytest.approx([getattr(point, quantity) for point in points], rel=1e-6)


def _open(browser, dashboard, page):
    """Open a page of the dashboard, which has no address of its own, and see that it stays.

    By itself VisualDL goes to a first page when it knows what there is.
    """
    browser.get(dashboard)
    browser.execute_script("performance.setResourceTimingBufferSize(10000)")  # 250 are kept: its modules are as many
    here = f"return location.pathname == '/app/{page}'"
    go = f"history.pushState({{}}, '', '/app/{page}'); window.dispatchEvent(new PopStateEvent('popstate'))"
    there = 0

    def stays():
        nonlocal there
        known = "SCALARS" in browser.find_element("tag name", "body").text
        there = there + 1 if known and browser.execute_script(here) else 0
        if known and not there:
            browser.execute_script(go)
        return there == 10  # times in a row, over two seconds

    wait_until(stays, 60, f"{page} does not open")


def _texts(browser, selector):
    return [element.text for element in browser.find_elements("css selector", selector)]


def _answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
