"""A headless Chromium for tests of the page, and what they wait for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS = 60  # a busy machine is slow; what is waited for is mostly there at once
MISSING = (
    "the page is tested in a browser: apt-get install chromium chromium-driver, "
    "or put Chrome and its chromedriver on the PATH"
)

Found = TypeVar("Found")


class Browser:
    """One window. Everything that a test looks at is waited for."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1100, height: int = 900, theme: str = "light") -> None:
        phone = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.get(url)

    def until(self, condition: Callable[[], Found | None], what: str) -> Found:
        """The first result that is true; elements replaced meanwhile are looked up anew."""
        wait = WebDriverWait(
            self.driver, WAIT_SECONDS, 0.05, ignored_exceptions=[WebDriverException, IndexError]
        )
        try:
            return wait.until(lambda _: condition() or False)
        except TimeoutException:
            shown = " ".join(self.texts("#notice, main"))
            raise AssertionError(f"{what}; the page shows {shown:.1000}") from None

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        """The first that can be seen."""
        return self.until(
            lambda: next((found for found in self.all(css) if found.is_displayed()), None),
            f"{css} is not to be seen",
        )

    def click(self, css: str) -> None:
        """The first that can be seen, or what has taken its place."""

        def clicked() -> bool:
            self.one(css).click()
            return True

        self.until(clicked, f"{css} cannot be clicked")

    def texts(self, css: str) -> list[str]:
        """What the elements hold, read at one moment."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        found: list[str] = self.driver.execute_script(script, css)
        return found

    def says(self, css: str, text: str) -> None:
        """Waits until one of the elements holds the text."""
        self.until(lambda: any(text in one for one in self.texts(css)), f"{css} without {text!r}")

    def gone(self, css: str) -> None:
        self.until(lambda: not self.all(css), f"{css} is still there")

    def press(self, *keys: str) -> None:
        """Keys for whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def focused(self) -> str:
        """The text of what has the focus, or its id where it has none."""
        script = "const e = document.activeElement; return e.textContent.trim() || e.id"
        return str(self.driver.execute_script(script))

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def ask(self, query: str) -> None:
        def asked() -> bool:
            field = self.one("#query")
            field.clear()
            field.send_keys(query, Keys.ENTER)
            return True

        self.until(asked, "the field takes no query")

    def complaints(self) -> list[str]:
        """What the browser refused or a script threw since the last call."""
        log: list[dict[str, str]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [
            entry["message"]
            for entry in log
            if entry["level"] == "SEVERE" and "Failed to load resource" not in entry["message"]
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    binary = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip(MISSING)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    # Root, as in a container, gets no sandbox; and a container's /dev/shm is small.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    started = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(started)
    finally:
        started.quit()
