"""The page's list of documents, and what is pasted to be one, where not all goes well."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from browser import Browser
from fastapi import Response
from fastapi.responses import JSONResponse
from scripted_service import Reply, Scripted, answer, hit, lines, refusal, scripted_page
from selenium.webdriver.common.action_chains import ActionChains


@pytest.fixture
def service() -> Iterator[Scripted]:
    with scripted_page() as scripted:
        yield scripted


def test_pasted_text_stays_until_it_is_stored(browser: Browser, service: Scripted) -> None:
    listed: dict[str, Any] = {"documents": [], "next": None, "total": 0}
    text = '{"text": "A walk each day."}'
    service.says("/documents", listed)
    browser.open(service.url + "?view=documents")
    browser.click(".add summary")
    browser.one("#paste-title").send_keys("Walking")
    browser.one("#paste-text").send_keys(text)

    def pasted() -> list[str]:
        fields = browser.one("#paste-title"), browser.one("#paste-text")
        return [field.get_attribute("value") or "" for field in fields]

    def becomes(reply: Reply | Any, said: str) -> None:
        """What is said of it once the documents are listed anew."""
        before = len(service.asked)
        service.says("/documents", reply, listed)
        browser.click(".paste button")
        browser.says(".result > span", said)
        browser.until(lambda: len(service.asked) == before + 3, "it is not listed anew")

    becomes(refusal(500, "another process is writing"), "not added: another process is writing")
    assert pasted() == ["Walking", text]
    counts = {"read": 1, "stored": 0, "unchanged": 0, "rejected": 1, "seconds": 1}
    record = {"status": "rejected", "id": "a", "location": None, "reason": "it is too long"}
    becomes(lines(record, {"summary": counts}), "0 stored, 1 rejected")
    assert pasted() == ["Walking", text]
    # An answer that breaks off makes the page wait for the service, and then show all anew.
    becomes(lines({"status": "stored", "id": "a", "location": None, "reason": None}), "broke off")
    browser.gone(".result")
    assert pasted() == ["Walking", text]
    becomes(lines({"summary": counts | {"stored": 1, "rejected": 0}}), "1 stored")
    assert pasted() == ["", ""]


def test_an_error_while_listing_is_shown_and_can_be_tried_again(
    browser: Browser, service: Scripted
) -> None:
    service.says("/search", answer(hit(1, 1, "Walking")))
    service.says("/documents", refusal(500, "the store is locked"), listing("a"))
    browser.open(service.url + "?q=walk")
    browser.one(".hit")
    browser.click("nav a[data-view=documents]")
    browser.says("#notice", "The store is locked.")
    assert browser.texts(".documents, .total") == []
    browser.click("#notice button")
    browser.says(".documents a", "a")
    assert browser.texts("#notice p") == []


def test_a_double_click_shows_the_next_documents_once(browser: Browser, service: Scripted) -> None:
    def late(_: dict[str, Any]) -> Response:
        time.sleep(1)
        return JSONResponse(listing("c", "d", more=True))

    service.says("/documents", listing("a", "b", more=True), late)
    browser.open(service.url + "?view=documents")
    ActionChains(browser.driver).double_click(browser.one("#main > button")).perform()
    browser.until(lambda: len(browser.all(".documents li")) > 2, "nothing more is shown")
    assert browser.focused() == "Show more"
    browser.click("#main > button")
    browser.until(lambda: len(browser.all(".documents li")) > 4, "nothing more is shown")
    assert browser.texts(".documents a") == ["a", "b", "c", "d", "c", "d"]
    asked = [query for path, query in service.addresses if path == "/documents"]
    assert asked == ["limit=50", "limit=50&after=b", "limit=50&after=d"]


def test_more_is_shown_after_the_last_row_that_was_not_deleted(
    browser: Browser, service: Scripted
) -> None:
    service.says("/documents", listing("a", "b c", more=True), listing("d"))
    browser.open(service.url + "?view=documents")
    browser.until(lambda: len(browser.all(".documents .delete")) == 2, "no documents")
    browser.all(".documents .delete")[1].click()
    browser.click("#ask-delete .danger")
    browser.until(lambda: len(browser.all(".documents li")) == 1, "it is not deleted")
    browser.click("#main > button")
    browser.says(".documents a", "d")
    assert service.addresses[-1] == ("/documents", "limit=50&after=a")
    assert browser.texts(".documents a") == ["a", "d"]


def listing(*ids: str, more: bool = False) -> dict[str, Any]:
    """What the service lists, and whether there is more to list."""
    documents = [{"id": one, "title": one, "source": None, "passages": 1} for one in ids]
    return {"documents": documents, "next": ids[-1] if more else None, "total": 99}
