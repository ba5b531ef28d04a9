"""What people do with the page, in a real browser, before `python -m search.serve`."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from browser import Browser
from running_service import Running, running_with_samples
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from search.answer import band

QUERY = "how to prevent heart disease"


@pytest.fixture(scope="module")
def service(window: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_with_samples(tmp_path_factory.mktemp("service")) as service:
        yield service


def test_an_answer_shows_what_the_service_said(browser: Browser, service: Running) -> None:
    expected = service.search(QUERY, passages=True)
    browser.open(service.url)
    assert browser.focused() == "query"
    browser.ask(QUERY)
    browser.says(".hit h2", expected["hits"][0]["title"])
    hits = expected["hits"]
    assert browser.texts(".hit h2") == [hit["title"] for hit in hits]
    assert browser.texts(".hit .band") == [band(hit["probability"]) for hit in hits]
    marks = [h["passage"][slice(*h["highlight"])] for h in hits if h["highlight"]]
    assert marks
    assert [" ".join(m.split()) for m in browser.texts(".hit mark")] == marks
    first = hits[0]
    share = browser.run(
        "const bar = document.querySelector('.bar');"
        "return bar.firstChild.getBoundingClientRect().width / bar.getBoundingClientRect().width"
    )
    assert share == pytest.approx(first["probability"], abs=0.02)
    assert f"was {first['retrieval']['rank']}" in browser.texts(".hit .move")[0]
    assert f"documents:{first['source']['line']}" in browser.texts(".hit .source")[0]
    made = browser.one(".made").text
    assert "retrieve" in made
    assert "rerank" in made
    assert f"{expected['model']['name']} on {expected['model']['device']}" in made
    assert browser.driver.title.startswith(QUERY)


def test_a_click_on_a_value_filters_and_the_chip_takes_it_back(
    browser: Browser, service: Running
) -> None:
    browser.open(f"{service.url}?{urllib.parse.urlencode({'q': QUERY})}")
    before = browser.until(lambda: browser.texts(".hit h2"), "no hits")
    values = {value.text: value for value in browser.all(".hit button.value")}
    values["aspect complications"].click()
    browser.says("#filters", "aspect=complications")
    expected = service.search(QUERY, where=["aspect=complications"])
    titles = [hit["title"] for hit in expected["hits"]]
    browser.until(lambda: browser.texts(".hit h2") == titles, f"expected {titles}")
    assert "where=aspect%3Dcomplications" in browser.driver.current_url
    browser.click("#filters button")
    browser.until(lambda: browser.texts(".hit h2") == before, "the filter is still on")
    assert "where" not in browser.driver.current_url
    browser.driver.back()
    browser.until(lambda: browser.texts(".hit h2") == titles, "back did not bring the filter")
    assert browser.texts("#filters bdi") == ["aspect=complications"]
    browser.driver.forward()
    browser.until(lambda: browser.texts(".hit h2") == before, "forward did not take it off")


def test_a_value_with_signs_of_the_filter_language_is_found(
    browser: Browser, service: Running
) -> None:
    odd = 'a "b" = 3..4 '
    service.ask("documents", {"id": "odd", "text": "Zebras have stripes.", "tag": odd, "n": 1.5})
    browser.open(service.url + "?q=zebras")
    browser.until(lambda: f"tag {odd}" in browser.texts("button.value"), "no such value")
    for name in ("tag ", "n "):
        found = [b for b in browser.all("button.value") if b.text.startswith(name)]
        found[0].click()
        browser.until(lambda: len(browser.texts(".hit")) == 1, "more than one has it")
        browser.click("#filters button")
        browser.until(lambda: len(browser.texts(".hit")) > 1, "the filter is still on")
    service.ask("documents/odd", method="DELETE")


def test_both_orders_stand_side_by_side(browser: Browser, service: Running) -> None:
    expected = service.search(QUERY, before=True)
    browser.open(f"{service.url}?{urllib.parse.urlencode({'view': 'compare', 'q': QUERY})}")
    browser.one(".compare")
    for column, hits in (("First stage", expected["before"]), ("Reranked", expected["hits"])):
        titles = browser.texts(f".compare ol[aria-label='{column}'] a")
        assert titles == [hit["title"] for hit in hits]
    ids = {hit["id"] for hit in expected["before"] + expected["hits"]}
    browser.until(lambda: len(browser.all(".lines path")) == len(ids), "a line for each document")
    assert_lines_meet_their_rows(browser)
    # Words alone find in another order; the address says so, and a reload keeps it.
    browser.click("input[value=bm25]")
    words = service.search(QUERY, retrieval="bm25", before=True)
    titles = [hit["title"] for hit in words["before"]]
    assert titles != [hit["title"] for hit in expected["before"]]
    first = ".compare ol[aria-label='First stage'] a"
    browser.until(lambda: browser.texts(first) == titles, f"expected {titles}")
    assert "retrieval=bm25" in browser.driver.current_url
    browser.driver.refresh()
    browser.until(lambda: browser.texts(first) == titles, "not kept")
    assert browser.one("input[value=bm25]").is_selected()


def test_the_arrow_keys_follow_a_document_across(browser: Browser, service: Running) -> None:
    browser.open(f"{service.url}?{urllib.parse.urlencode({'view': 'compare', 'q': QUERY})}")
    browser.one(".compare")
    browser.one("#query").send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    within = "return document.activeElement.closest('section').querySelector('h2').textContent"
    assert browser.run(within) == "First stage"
    title = browser.focused()
    browser.press(Keys.ARROW_RIGHT)
    assert (browser.run(within), browser.focused()) == ("Reranked", title)
    browser.press(Keys.ARROW_LEFT)
    assert (browser.run(within), browser.focused()) == ("First stage", title)


def assert_lines_meet_their_rows(browser: Browser) -> None:
    """Each line ends at the middle of its document's row, in both columns."""
    off = browser.run("""
        const svg = document.querySelector('.lines').getBoundingClientRect();
        const middle = (list, id) => {
            const row = [...document.querySelectorAll(`ol[aria-label='${list}'] li`)]
                .find(one => one.dataset.id === id)?.getBoundingClientRect();
            return row ? (row.top + row.bottom) / 2 - svg.top : null;
        };
        return [...document.querySelectorAll('.lines path')].flatMap(path => {
            const points = path.getAttribute('d').match(/[\\d.]+/g).map(Number);
            const ends = [[points[1], 'First stage'], [points.at(-1), 'Reranked']];
            return ends.map(([y, list]) => [y, middle(list, path.dataset.id)])
                .filter(([y, expected]) => expected !== null && Math.abs(y - expected) > 1);
        });
    """)
    assert off == []


def test_a_gate_and_a_blend_show_at_once(browser: Browser, service: Running) -> None:
    browser.open(f"{service.url}?{urllib.parse.urlencode({'view': 'compare', 'q': QUERY})}")
    browser.one(".compare")
    browser.one("#set-gate").send_keys(Keys.HOME)
    browser.says(".remark", "the first stage is sure")
    assert browser.texts(".compare h2") == ["First stage", "Not reranked"]
    browser.one("#set-gate").send_keys(Keys.END)
    browser.says(".compare h2", "Reranked")
    assert "gate" not in browser.driver.current_url
    browser.one("#set-blend").send_keys(Keys.HOME)
    alone = [hit["title"] for hit in service.search(QUERY, blend=0)["hits"]]
    shown = ".compare ol[aria-label='Reranked'] a"
    browser.until(lambda: browser.texts(shown) == alone, f"expected {alone}")


def test_the_keyboard_is_enough(browser: Browser, service: Running) -> None:
    browser.open(service.url)
    browser.says("#main", "Ask")
    browser.press(QUERY, Keys.ENTER)
    browser.one(".hit")
    titles = browser.texts(".hit h2")
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused() == titles[0]
    browser.press(Keys.ARROW_DOWN)
    assert browser.focused() == titles[1]
    outline = browser.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press(Keys.ENTER)
    browser.says("#main h1", titles[1])
    assert "id=" in browser.driver.current_url
    browser.press(Keys.ESCAPE)
    browser.one(".hit")
    assert "id=" not in browser.driver.current_url
    browser.until(lambda: browser.focused() == titles[1], "its hit has lost the focus")
    browser.press("/")
    assert browser.focused() == "query"
    browser.press("angina pain", Keys.ENTER)
    browser.until(lambda: browser.texts(".hit h2") != titles, "the same answers")
    browser.press(Keys.ARROW_DOWN)
    browser.press(Keys.ARROW_UP)
    assert browser.focused() == "query"


def test_text_that_runs_from_the_right_and_text_without_spaces(
    browser: Browser, service: Running
) -> None:
    arabic = {
        "id": "ar",
        "title": "المشي",
        "text": "المشي كل يوم يحمي القلب من المرض.",
        "language": "ar",
    }
    service.ask("documents", arabic)
    browser.open(f"{service.url}?{urllib.parse.urlencode({'q': 'المشي'})}", width=390)
    browser.says(".hit h2", "المشي")
    script = "return getComputedStyle(document.querySelector(arguments[0])).direction"
    assert [browser.run(script, css) for css in ("#query", ".hit .passage")] == ["rtl", "rtl"]
    assert browser.run("return document.scrollingElement.scrollWidth <= innerWidth")
    browser.open(f"{service.url}?{urllib.parse.urlencode({'q': '心脏病', 'where': 'language=zh'})}")
    browser.one(".hit h2[lang=zh]")
    service.ask("documents/ar", method="DELETE")


@pytest.mark.parametrize("view", ["search", "compare", "documents"])
def test_a_phone_shows_all_without_scrolling_sideways(
    browser: Browser, service: Running, view: str
) -> None:
    where = "condition=coronary heart disease"
    address = {"view": view, "q": QUERY, "where": where, "candidates": "30"}
    browser.open(f"{service.url}?{urllib.parse.urlencode(address)}", width=360, height=740)
    browser.one("#main li")
    if view != "documents":
        browser.click("#settings summary")
    assert browser.run("return document.scrollingElement.scrollWidth <= innerWidth")
    # Hardly anything is too small to be tapped.
    small = browser.run("""
        return [...document.querySelectorAll('nav a, header button, .delete')]
            .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 24)
            .map(e => e.outerHTML);
    """)
    assert small == []


def test_a_query_that_is_too_long_is_refused_with_a_reason(
    browser: Browser, service: Running
) -> None:
    browser.open(service.url)
    browser.says("#main", "Ask")
    browser.run("document.querySelector('#query').value = 'heart '.repeat(400000)")
    browser.press(Keys.ENTER)
    notice = browser.until(lambda: browser.texts("#notice p"), "no notice")[0]
    assert "characters" in notice or "bytes" in notice


def test_a_document_is_reached_by_mouse_and_link(browser: Browser, service: Running) -> None:
    """Pointing at one brings its two places forward."""
    browser.open(f"{service.url}?{urllib.parse.urlencode({'view': 'compare', 'q': QUERY})}")
    browser.one(".compare")
    row = browser.all(".compare ol[aria-label='Reranked'] li")[1]
    ActionChains(browser.driver).move_to_element(row).perform()
    name = row.get_attribute("data-id")
    browser.until(lambda: browser.all(".compare.pointing path.shown"), "its line is not shown")
    shown = browser.run("return [...document.querySelectorAll('.shown')].map(e => e.dataset.id)")
    assert set(shown) == {name}
    title = row.find_element("css selector", "a").text
    row.find_element("css selector", "a").click()
    browser.says("#main h1", title)
    browser.driver.refresh()
    browser.says("#main h1", title)
    browser.driver.back()
    browser.one(".compare")


def test_the_files_are_asked_for_anew_and_only_sent_when_they_changed(service: Running) -> None:
    for path in ("", "page/page.js", "page/page.css", "page/icon.svg"):
        with urllib.request.urlopen(service.url + path) as response:
            headers = dict(response.headers.items())
            assert response.read()
        assert headers["cache-control"] == "no-cache"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        again = urllib.request.Request(
            service.url + path, headers={"If-None-Match": headers["etag"]}
        )
        with pytest.raises(urllib.error.HTTPError) as unchanged:
            urllib.request.urlopen(again)
        with unchanged.value as response:
            assert response.status == 304
    with pytest.raises(urllib.error.HTTPError) as absent:
        urllib.request.urlopen(service.url + "page/__init__.py")
    absent.value.close()
    assert absent.value.code == 404


def test_the_viewer_of_the_api_loads_nothing_from_elsewhere_and_tries_it_out(
    browser: Browser, service: Running
) -> None:
    browser.open(service.url + "docs")
    browser.one(".opblock")
    (described,) = service.ask("openapi.json")
    methods = [method for path in described["paths"].values() for method in path]
    assert len(browser.all(".opblock")) == len(methods)
    loaded = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith(service.url)] == []
    search = "#operations-search-search_by_address_search_get"
    browser.click(f"{search} .opblock-summary-control")
    browser.one(f"{search} [data-param-name=q] input").send_keys(QUERY)
    browser.click(f"{search} .execute")
    browser.says(f"{search} .live-responses-table .response-col_status", "200")
