"""What the page shows of any answer, in a real browser; the service is a scripted one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from scripted_service import STATUS, Scripted, answer, hit, lines, refusal, scripted_page
from selenium.webdriver.common.keys import Keys

EVIL = "<img src=x onerror=\"window.hacked = 'yes'\"><script>window.hacked = 'yes'</script>"


@pytest.fixture
def service() -> Iterator[Scripted]:
    with scripted_page() as scripted:
        yield scripted


def test_a_failed_reranker_is_not_passed_over(browser: Browser, service: Scripted) -> None:
    first = hit(1, 1, "Walking", probability=None, logit=None, score=0.5)
    why = "the reranker failed: out of memory"
    service.says("/search", answer(first, reranked=False, failed=True, reason=why, model={}))
    browser.open(service.url + "?q=walk")
    browser.says(".remark.warning", f"This is the first stage’s order, not reranked: {why}.")
    assert browser.texts(".hit .score") == ["score 0.500"]
    assert browser.texts(".bar") == []


def test_a_partial_answer_and_notes_are_named(browser: Browser, service: Scripted) -> None:
    why = "the deadline of 80 ms passed after 8 of 20 passages"
    found = answer(hit(1, 4, "A"), reranked="partial", reason=why, notes=["the gate does not fit"])
    service.says("/search", found)
    browser.open(service.url + "?q=walk&deadline_ms=80")
    browser.says(".remark", f"Only partly reranked: {why}.")
    browser.says(".remark", "Note: the gate does not fit.")
    assert service.bodies()[0]["deadline_ms"] == 80


def test_nothing_found_says_why(browser: Browser, service: Scripted) -> None:
    service.says("/search", answer(hint="no document has the field `lang`; is `language` meant?"))
    browser.open(service.url + "?q=walk&where=lang%3Den")
    browser.says(".nothing", "Nothing found: no document has the field `lang`")
    assert browser.texts(".hits") == []


def test_a_query_that_is_too_long_can_be_mended(browser: Browser, service: Scripted) -> None:
    why = "The query has 9,000 characters, expected at most 4,000: shorten it"
    service.says("/search", refusal(422, why), answer(hit(1, 1, "Walking")))
    browser.open(service.url)
    browser.ask("long")
    browser.says("#notice", why)
    assert browser.one("#query").get_attribute("value") == "long"
    browser.ask("short")
    browser.says(".hit h2", "Walking")
    assert browser.texts("#notice p") == []


def test_a_busy_service_is_asked_again_when_it_says(browser: Browser, service: Scripted) -> None:
    busy = refusal(429, "too much work waits", **{"Retry-After": "2"})
    service.says("/search", busy, answer(hit(1, 1, "Walking")))
    browser.open(service.url + "?q=walk")
    browser.says("#notice", "Too much work waits. Trying again in")
    assert len(service.bodies()) == 1
    browser.says(".hit h2", "Walking")
    assert len(service.bodies()) == 2
    assert browser.texts("#notice p") == []


def test_the_key_is_asked_for_and_sent(browser: Browser, service: Scripted) -> None:
    wanted = refusal(401, "a key is needed")
    service.says("/status", wanted, refusal(401, "this key is not known"), STATUS)
    service.says("/search", answer(hit(1, 1, "Walking")))
    browser.open(service.url + "?q=walk")
    browser.says("#ask-key-reason", "A key is needed.")
    browser.press("wrong", Keys.ENTER)
    browser.says("#ask-key-reason", "This key is not known.")
    browser.until(lambda: browser.focused() == "key", "the key's field is not focused")
    browser.press("right", Keys.ENTER)
    browser.says(".hit h2", "Walking")
    path, _, headers = service.asked[-1]
    assert (path, headers["authorization"]) == ("/search", "Bearer right")
    browser.driver.refresh()
    browser.says(".hit h2", "Walking")
    assert service.asked[-1][2]["authorization"] == "Bearer right"
    assert "right" not in browser.driver.current_url


def test_without_a_key_the_page_says_what_it_needs(browser: Browser, service: Scripted) -> None:
    service.says("/status", refusal(401, "a key is needed"))
    browser.open(service.url + "?q=walk")
    browser.one("#ask-key")
    browser.press(Keys.ESCAPE)
    browser.says("#notice", "A key is needed.")
    browser.says("#notice button", "Try again")


def test_text_of_documents_is_never_html(browser: Browser, service: Scripted) -> None:
    evil = hit(
        1,
        2,
        EVIL,
        EVIL,
        highlight=[0, 20],
        metadata={EVIL: EVIL, "tag": [EVIL, "b"]},
        source={"file": EVIL, "line": None},
        location={"line": None, "page": 2, "heading": EVIL},
        also_in=[{"id": EVIL, "title": EVIL, "source": None, "location": None}],
        passages=[{"passage": EVIL, "location": None, "score": 0.5}],
    )
    said = answer(evil, notes=[EVIL], hint=EVIL, before=[evil])
    said["model"]["name"] = EVIL
    service.says("/search", said)
    service.says("/documents", {"documents": [], "next": None, "total": 0})
    for view in ("search", "compare"):
        browser.open(f"{service.url}?view={view}&q={EVIL.replace('#', '')}&where={EVIL}")
        browser.says("#main", EVIL)
        assert browser.all("#main img, #main script, header img, header script") == []
        assert browser.run("return window.hacked ?? null") is None
    stored = {"id": EVIL, "title": EVIL, "source": {"file": EVIL, "line": None}, "passages": 1}
    service.says("/documents", {"documents": [stored], "next": None, "total": 1})
    browser.open(service.url + "?view=documents")
    browser.says(".documents", EVIL)
    browser.click(".documents button")
    browser.says("#ask-delete", EVIL)
    assert browser.all("img, body script") == []
    assert browser.run("return window.hacked ?? null") is None


def test_characters_are_counted_as_the_service_counts_them(
    browser: Browser, service: Scripted
) -> None:
    # Two UTF-16 units each: an emoji, and a Chinese character outside of the basic plane.
    passage = "😀😀𠮷。 This one decides. The rest."
    start = passage.index("This")
    span = [start, start + len("This one decides.")]
    service.says("/search", answer(hit(1, 1, "Marks", passage, highlight=span)))
    browser.open(service.url + "?q=marks")
    browser.says(".hit mark", "This one decides.")
    assert browser.texts(".hit mark") == ["This one decides."]
    assert browser.texts(".passage") == [passage]


def test_each_text_runs_in_its_own_direction(browser: Browser, service: Scripted) -> None:
    arabic = hit(
        1, 1, "الوقاية من أمراض القلب", "المشي كل يوم يحمي القلب.", metadata={"لغة": "عربي"}
    )
    chinese = hit(2, 2, "预防心脏病", "每天步行" * 200, metadata={"language": "zh"})
    service.says("/search", answer(arabic, chinese))
    browser.open(service.url + "?q=%D9%82%D9%84%D8%A8", width=360)
    browser.says(".hit h2", "预防心脏病")
    directions = browser.run(
        "return ['#query', '.hit h2 a', '.hit .passage'].map("
        "s => getComputedStyle(document.querySelector(s)).direction)"
    )
    assert directions == ["rtl", "rtl", "rtl"]
    assert browser.all(".hit")[1].find_element("css selector", "h2").get_attribute("lang") == "zh"
    # Chinese has no spaces: it is cut and broken anywhere, not beyond the edge.
    long = browser.texts(".passage")[1]
    assert 300 < len(long) < 500
    assert "…" in long
    assert_nothing_sticks_out(browser)


def assert_nothing_sticks_out(browser: Browser) -> None:
    wide = browser.run("return document.scrollingElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{wide} pixels beyond the right edge"


def test_a_key_that_may_only_read_offers_no_writing(browser: Browser, service: Scripted) -> None:
    service.says("/status", STATUS | {"may_write": False})
    stored = {"id": "a", "title": "A", "source": None, "passages": 1}
    service.says("/documents", {"documents": [stored], "next": None, "total": 1})
    browser.open(service.url + "?view=documents")
    browser.says(".remark", "may read only")
    assert browser.texts(".documents a") == ["A"]
    assert browser.all("#files, .delete") == []


def test_an_upload_that_breaks_off_says_so(browser: Browser, service: Scripted) -> None:
    service.says("/documents", {"documents": [], "next": None, "total": 0})
    browser.open(service.url + "?view=documents")
    browser.says(".total", "Nothing is stored yet.")
    service.says("/documents", refusal(413, "the body has 9 MB, expected at most 4 MB"))
    browser.click(".add summary")
    browser.one("#paste-text").send_keys("A walk each day.")
    browser.click(".paste button")
    browser.says(".result.failed", "not added: the body has 9 MB, expected at most 4 MB")


def test_what_was_added_is_counted_and_what_was_not_is_explained(
    browser: Browser, service: Scripted
) -> None:
    service.says("/documents", {"documents": [], "next": None, "total": 0})
    browser.open(service.url + "?view=documents")
    browser.says(".total", "Nothing is stored yet.")
    why = "field 'text' is empty, expected text"
    records: list[dict[str, Any]]
    records = [{"status": "stored", "id": "a", "location": "walks:1", "reason": None}] * 3
    records += [{"status": "rejected", "id": "b", "location": "walks:4", "reason": why}] * 205
    full = "the disk is full"
    summary = {"read": 208, "stored": 3, "unchanged": 0, "rejected": 205, "seconds": 1}
    listed: dict[str, Any] = {"documents": [], "next": None, "total": 3}
    broken = [*records, {"summary": summary | {"problem": full}}]
    service.says("/documents", lines(*records, {"summary": summary}), listed, lines(*broken))
    browser.click(".add summary")
    browser.click(".take-over input")
    browser.one("#paste-title").send_keys("walks")
    browser.one("#paste-text").send_keys('{"text": "a"}', Keys.ENTER, '{"text": "b"}')
    browser.click(".paste button")
    browser.says(".total", "3 documents.")
    assert browser.texts(".result > span") == ["3 stored, 205 rejected"]
    shown = browser.texts(".rejected li")
    assert shown[0] == f"walks:4, b: {why}"
    assert len(shown) == 201
    assert shown[-1] == "and 5 more"
    browser.one("#paste-text").send_keys("x")
    browser.click(".paste button")
    browser.says(".result.failed", f"3 stored, 205 rejected, then it broke off: {full}")
    sent = [parameters for path, parameters in service.addresses if path == "/documents"]
    assert "take_over=true&name=walks" in sent


AXE = os.environ.get("AXE_CORE", "")


@pytest.mark.skipif(
    not AXE, reason="AXE_CORE must name axe.min.js of npm's axe-core (npm pack axe-core)"
)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_axe_finds_no_fault(browser: Browser, service: Scripted, theme: str, width: int) -> None:
    code = Path(AXE).read_text(encoding="utf-8")
    faults = []
    for address, shown in every_view(service):
        browser.open(service.url + address, width=width, theme=theme)
        browser.one(shown)
        # Axe makes elements of text, which the page's own scripts may not.
        browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        browser.run(code)
        found = browser.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document).then(r => done(r.violations))"
        )
        faults += [(address, one["id"], [n["html"] for n in one["nodes"]]) for one in found]
    browser.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
    assert faults == []


def every_view(service: Scripted) -> list[tuple[str, str]]:
    """Addresses that show all kinds of things, and what to wait for at each."""
    full = hit(
        1,
        3,
        "Walking",
        "A walk each day keeps the heart well. " * 30,
        highlight=[0, 37],
        metadata={"language": "en", "year": 2020},
        also_in=[{"id": "b", "title": "B", "source": None, "location": None}],
        passages=[{"passage": "More.", "location": None, "score": 0.5}],
    )
    weak, fair = hit(2, 1, "B", probability=0.05), hit(3, 2, "C", probability=0.5)
    first = [hit(1, 1, "B", probability=None, logit=None)]
    service.says("/search", answer(full, weak, fair, before=first, notes=["the gate does not fit"]))
    stored = {"id": "a", "title": "A", "source": {"file": "a.md", "line": None}, "passages": 1}
    service.says("/documents", {"documents": [stored], "next": "a", "total": 2})
    passage = {"text": "A walk.", "location": {"line": 1, "page": None, "heading": "Walks"}}
    whole = {"id": "a", "title": "A", "metadata": {"year": 2020}, "source": None}
    service.says("/documents/a", whole | {"passages": [passage]})
    return [
        ("", ".welcome"),
        ("?q=walk&where=year%3D2020", ".hits"),
        ("?view=compare&q=walk&candidates=10", ".compare"),
        ("?view=documents", ".documents a"),
        ("?view=documents&id=a", ".passages"),
    ]
