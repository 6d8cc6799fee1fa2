"""Chromium without a screen, where it is installed."""

import contextlib
import shutil
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "no browser: install chromium and chromedriver (Debian: chromium-driver)"
OPTIONS = ("headless=new", "no-sandbox", "disable-gpu", "window-size=1500,1300")
ALONE = ("disable-background-networking", "disable-component-update", "disable-sync", "no-first-run", "disable-quic")


@contextlib.contextmanager
def open_browser(**logs):
    """A browser; `logs` are the levels of its logs beside the console's."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, *ALONE):
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", **logs})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait_until(condition, seconds, otherwise):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise() if callable(otherwise) else otherwise
        time.sleep(0.2)
