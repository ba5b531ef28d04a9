"""Documents on the page, in a browser: added, found, opened, deleted, and what a key allows."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser
from running_service import Running, running, running_with_samples
from selenium.webdriver.common.keys import Keys


@pytest.fixture(scope="module")
def service(window: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_with_samples(tmp_path_factory.mktemp("service")) as service:
        yield service


def test_a_file_is_added_found_and_deleted(
    browser: Browser, service: Running, tmp_path: Path
) -> None:
    file = tmp_path / "quokka.md"
    file.write_text("# Quokkas\n\nA quokka is a small wallaby that lives on Rottnest Island.\n")
    browser.open(service.url + "?view=documents")
    count = int(browser.one(".total").get_attribute("data-count") or 0)
    browser.all("#files")[0].send_keys(str(file))
    browser.says(".result", "1 stored")
    browser.says(".total", f"{count + 1} documents.")
    browser.ask("where do quokkas live")
    browser.says(".hit h2", "Quokkas")
    browser.click(".hit h2 a")
    browser.says(".passages", "Rottnest Island")
    browser.click("button.delete")
    browser.says("#ask-delete-what", "Quokkas")
    browser.click("#ask-delete .plain")  # cancel
    browser.says(".passages", "Rottnest Island")
    assert len(service.ask("documents?limit=1000")[0]["documents"]) == count + 1
    browser.click("button.delete")
    browser.click("#ask-delete .danger")
    browser.says(".total", f"{count} documents.")
    browser.ask("where do quokkas live")
    browser.one(".hit")
    assert "Quokkas" not in browser.texts(".hit h2")


def test_files_can_be_dropped_on_any_view_and_rejects_are_explained(
    browser: Browser, service: Running
) -> None:
    browser.open(f"{service.url}?{urllib.parse.urlencode({'q': 'how to prevent heart disease'})}")
    browser.one(".hit")
    good = json.dumps({"id": "numbat", "title": "Numbats", "text": "A numbat eats termites."})
    browser.run(
        """
        const data = new DataTransfer();
        data.items.add(new File([arguments[0]], "animals.jsonl"));
        data.items.add(new File(["\\x89PNG\\r\\n\\x1a\\n\\0\\0"], "photo.png"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
        """,
        good + '\n{"id": "empty", "text": ""}\nnot json\n',
    )
    browser.says(".result", "1 stored, 2 rejected")
    browser.until(lambda: len(browser.texts(".rejected li")) == 3, "three rejects, with photo.png")
    rejected = browser.texts(".rejected li")
    assert any("animals.jsonl" in one and "field 'text' is empty" in one for one in rejected)
    assert any("photo.png" in one for one in rejected)
    service.ask("documents/numbat", method="DELETE")


def test_an_id_that_is_a_path_is_opened_and_deleted(browser: Browser, service: Running) -> None:
    name = "/home/me/../notes & more/a b#c?d=é%2F.md"
    service.ask("documents", {"id": name, "title": "Bilbies", "text": "A bilby has long ears."})
    browser.open(service.url + "?q=bilby")
    browser.says(".hit h2", "Bilbies")
    browser.click(".hit h2 a")
    browser.says(".origin bdi", name)
    browser.driver.refresh()
    browser.says(".passages", "A bilby has long ears.")
    # Opened anew, it still has somewhere to go back to.
    browser.click("button.delete")
    browser.click("#ask-delete .danger")
    browser.one(".documents a")
    assert name not in browser.texts(".documents .about bdi")
    link = urllib.parse.urlencode({"view": "documents", "id": "heart-disease-prevention"})
    browser.open(f"{service.url}?{link}")
    browser.one(".passages")
    browser.press(Keys.ESCAPE)
    browser.one(".documents a")


def test_pasted_text_becomes_a_document(browser: Browser, service: Running) -> None:
    browser.open(service.url + "?view=documents")
    browser.click(".add summary")
    browser.one("#paste-title").send_keys("Wombats")
    browser.one("#paste-text").send_keys("A wombat digs burrows and is active at night.")
    browser.click(".paste button")
    browser.says(".result", "1 stored")
    browser.ask("which animal digs burrows")
    browser.says(".hit h2", "Wombats")
    found = next(h for h in service.search("wombat burrows")["hits"] if h["title"] == "Wombats")
    service.ask(f"documents/{found['id']}", method="DELETE")


def test_hostile_text_and_names_are_shown_as_they_are(browser: Browser, service: Running) -> None:
    evil = "<img src=x onerror=window.hacked=1><script>window.hacked=1"
    browser.open(service.url + "?view=documents")
    browser.one(".drop")
    browser.run(
        """
        const data = new DataTransfer();
        data.items.add(new File([`Xylophones are played with mallets. ${arguments[0]}`],
                                `${arguments[0]}.txt`));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
        """,
        evil,
    )
    browser.says(".result", f"{evil}.txt 1 stored")
    browser.ask("xylophone mallets")
    browser.says(".passage", evil)
    found = browser.until(lambda: [a for a in browser.all(".hit a") if evil in a.text], "no title")
    found[0].click()
    browser.says(".passages", evil)
    assert browser.all("img, body script") == []
    assert browser.run("return window.hacked ?? null") is None
    browser.click("button.delete")
    browser.click("#ask-delete .danger")
    browser.one(".documents a")
    assert not any(evil in one for one in browser.texts(".documents a"))


def test_an_empty_store_a_stopped_service_and_its_return(browser: Browser, tmp_path: Path) -> None:
    with running(tmp_path) as own:
        browser.open(own.url)
        browser.says(".welcome", "Nothing is stored yet")
        browser.ask("anything")
        browser.says(".welcome", "Nothing is stored yet")
        browser.click(".welcome a")
        browser.says(".total", "Nothing is stored yet.")
        browser.click(".add summary")
        browser.one("#paste-text").send_keys("A walk each day keeps the heart well.")
        browser.click(".paste button")
        browser.says(".total", "1 document.")
        browser.ask("walking")
        browser.says(".hit .passage", "A walk each day")
        own.stop()
        browser.ask("running")
        browser.says("#notice", "The service does not answer.")
        browser.says("#notice button", "Try again")
        own.start()
        # It notices by itself that the service is back, and asks again.
        browser.says(".hit .passage", "A walk each day")
        browser.until(lambda: not browser.texts("#notice p"), "the notice stays")


def test_what_a_key_allows_is_offered_and_limits_are_named(
    browser: Browser, tmp_path: Path
) -> None:
    look, change = "look" * 8, "change" * 6
    keys = f"{{reader: read {look}, writer: write {change}}}"
    limit = {"SEARCH_SERVE__MAX_UPLOAD_BYTES": "100000"}
    with running(tmp_path, SEARCH_SERVE__KEYS=keys, **limit) as own:
        browser.open(own.url + "?view=documents")
        browser.says("#ask-key-reason", "key")
        browser.press("unknown", Keys.ENTER)
        browser.until(lambda: browser.focused() == "key", "it is not asked for again")
        browser.press(look, Keys.ENTER)
        browser.says(".remark", "may read only")
        assert browser.all("#files") == []
        browser.click(".remark button")
        browser.one("#key")
        browser.press(change, Keys.ENTER)
        browser.click(".add summary")
        browser.one("#paste-text").send_keys("A walk each day keeps the heart well.")
        browser.click(".paste button")
        browser.says(".total", "1 document.")
        large = tmp_path / "large.txt"
        large.write_text("A long text. " * 1_000_000)
        browser.all("#files")[0].send_keys(str(large))
        browser.says(".result.failed", "not added: the request is larger than 100,000 bytes")
