"""What a reader types, moves and chooses on the page is asked for once, and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from browser import Browser
from fastapi import Response
from fastapi.responses import JSONResponse
from scripted_service import Scripted, answer, hit, scripted_page
from selenium.webdriver.common.keys import Keys


@pytest.fixture
def service() -> Iterator[Scripted]:
    with scripted_page() as scripted:
        yield scripted


def test_an_answer_that_is_no_longer_wanted_is_dropped(browser: Browser, service: Scripted) -> None:
    """Of two questions the last one's answer is shown, even if it is there first."""
    held = threading.Event()

    def slow(body: dict[str, Any]) -> Response:
        if body["query"] == "slow":
            held.wait(30)
        return JSONResponse(answer(hit(1, 1, body["query"])))

    service.says("/search", slow)
    browser.open(service.url)
    browser.ask("slow")
    browser.until(service.bodies, "nothing was asked")
    browser.ask("fast")
    browser.says(".hit h2", "fast")
    held.set()
    browser.run("return new Promise(done => setTimeout(done, 300))")
    assert browser.texts(".hit h2") == ["fast"]


def test_what_is_being_typed_is_left_alone(browser: Browser, service: Scripted) -> None:
    """While settings change, or the page asks again by itself."""
    service.says("/search", answer(hit(1, 1, "A"), before=[]))
    browser.open(service.url + "?view=compare&q=walk")
    browser.one(".compare")
    browser.one("#query").send_keys("ing")
    browser.one("#set-limit").send_keys(Keys.ARROW_RIGHT)
    browser.until(lambda: service.bodies()[-1].get("limit") == 11, "11 were not asked for")
    assert service.bodies()[-1]["query"] == "walk"
    assert browser.one("#query").get_attribute("value") == "walking"
    browser.driver.back()
    browser.open(service.url + "?q=walk")
    browser.ask("run")
    browser.until(lambda: service.bodies()[-1]["query"] == "run", "not asked")
    browser.driver.back()
    browser.until(lambda: browser.one("#query").get_attribute("value") == "walk", "not the query")


def test_moving_a_slider_asks_once_when_it_rests(browser: Browser, service: Scripted) -> None:
    before = [hit(1, 1, "A", logit=None), hit(2, 2, "B", logit=None)]
    found = answer(hit(1, 2, "B"), hit(2, 1, "A"), hit(3, 9, "C"), before=before)
    service.says("/search", found)
    browser.open(service.url + "?view=compare&q=walk")
    browser.says(".compare", "from further down")
    slider = browser.one("#set-candidates")
    for _ in range(5):
        slider.send_keys(Keys.ARROW_RIGHT)
    browser.until(lambda: service.bodies()[-1].get("candidates") == 25, "25 was not asked for")
    assert len(service.bodies()) < 6
    assert browser.driver.current_url.endswith("?view=compare&q=walk&candidates=25")
    assert browser.focused() == "set-candidates"
    # One line each, and one that comes from below the list.
    assert len(browser.all(".lines path")) == 3
    assert len(browser.all(".lines path.cut")) == 1
    assert browser.texts(".compare .move .unseen") == [
        "moved up by 1",
        "moved down by 1",
        "moved up by 6",
    ]


def test_every_setting_of_a_link_is_asked_for_and_shown(
    browser: Browser, service: Scripted
) -> None:
    service.says("/search", answer(before=[], hint="no document matches"))
    link = "candidates=7&alpha=0.25&blend=0&gate=12&threshold=0.3&limit=3&retrieval=bm25"
    browser.open(f"{service.url}?view=compare&q=walk&{link}&deadline_ms=90&rerank=false&x=1")
    browser.says(".nothing", "no document matches")
    asked = service.bodies()[0]
    expected: dict[str, Any] = {
        "candidates": 7,
        "alpha": 0.25,
        "blend": 0,
        "gate": 12,
        "threshold": 0.3,
    }
    expected |= {"limit": 3, "retrieval": "bm25", "deadline_ms": 90, "rerank": False}
    assert asked == asked | expected
    shown = browser.texts(".control output")
    assert shown == ["0.25", "7", "0", "12", "90", "0.3", "3"]
    assert browser.one("#changed").text == "(9 changed)"
    assert not browser.one("#set-alpha").is_enabled()  # words alone are not mixed with vectors
    browser.click("#reset")
    browser.until(lambda: len(service.bodies()) == 2, "not asked again")
    assert not service.bodies()[1].keys() & expected.keys()


def test_the_reader_s_theme_outlives_the_page(browser: Browser, service: Scripted) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    browser.open(service.url, theme="dark")
    dark = browser.run(paper)
    assert browser.one("#theme").text == "Light"
    browser.click("#theme")
    light = browser.run(paper)
    assert light != dark
    browser.driver.refresh()
    assert browser.run(paper) == light
    assert browser.one("#theme").text == "Dark"
