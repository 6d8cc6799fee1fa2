"""A browser without a screen, for tests that look at pages: Chromium, where it is installed with its driver."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
QUIET = ("disable-background-networking", "disable-component-update", "disable-sync", "no-first-run", "disable-quic")

needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: install chromium and chromedriver (Debian: chromium-driver)"
)


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1500,1300", *QUIET):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def complaints(driver, of=""):
    """What the browser's console has complained about since the last call, of addresses that contain `of`."""
    entries = driver.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] == "SEVERE" and of in entry["message"]]
