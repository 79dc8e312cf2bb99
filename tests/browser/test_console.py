"""What people of a line do in the console, in a real browser: see, open, review, enrol, change, print."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Request, expect

from inspector.config.config import Config
from inspector.domain import LongJob
from inspector.enrolment.enrolled_document import enrolled_document
from inspector.enrolment.enrolment_request import enrol_on_request
from inspector.enrolment.low_priority import Progress
from inspector.enrolment.worker import ENROL, Done, enrolment_request_of, work
from tests.browser.conftest import PATIENCE_MS, Console, Visit, Visitor
from tests.browser.scene import Line

PAGES = ("/", "/review", "/products", "/products/disc", "/enrol", "/shift", "/parts", "/results", "/contain", "/health",
         "/audit", "/people", "/people/me")  # fmt: skip
READ_ONLY = ("/", "/shift", "/parts", "/results", "/contain", "/health", "/audit")
MOST_BYTES = 300 * 1024


async def test_live_reject_is_seen_opened_reviewed_and_audited(line: Line, visit: Visit) -> None:
    async with visit("otto") as visitor:
        page = visitor.page
        await expect(page.locator("#camera-0 .card")).to_be_visible()
        verdict = await line.reject("cam1", "disc")
        card = page.locator("#camera-0")
        await expect(card.locator(f"a.verdict[href='/part/{verdict.result_id}']")).to_contain_text(
            "Reject", timeout=PATIENCE_MS
        )
        await card.locator("a.verdict").click()
        good = page.locator("#nearest img[src$='/nearest/good']")
        await expect(good).to_be_visible(timeout=PATIENCE_MS)
        assert await good.evaluate("image => image.naturalWidth") > 0
        await page.get_by_role("button", name="Bad").click()
        await expect(page.locator(".said.good")).to_contain_text("otto said bad")
        await visitor.go("/audit")
        await expect(page.locator("tbody tr").first).to_contain_text(f"result/{verdict.result_id}/review")
        assert visitor.faults == []


async def test_review_goes_on_by_keys_and_is_undone(visit: Visit) -> None:
    async with visit("otto") as visitor:
        page = visitor.page
        await visitor.go("/review")
        first = await page.locator("[data-part]").get_attribute("data-part")
        await expect(page.locator("[data-review] button").first).to_be_enabled()
        await page.keyboard.press("b")
        await expect(page.locator("[data-part]")).not_to_have_attribute("data-part", first or "")
        await page.keyboard.press("u")
        await expect(page.locator("[data-part]")).to_have_attribute("data-part", first or "")
        assert visitor.faults == []


async def test_product_is_enrolled_from_a_folder_in_the_browser(
    visit: Visit, console: Console, parts_folder: Path
) -> None:
    async with visit("eva") as visitor:
        page = visitor.page
        await visitor.go("/enrol")
        await page.fill("input[name=product]", "washer")
        await page.locator("input[webkitdirectory]").set_input_files(parts_folder / "disc")
        await page.select_option("select[name=profile]", "fast")
        await page.get_by_role("button", name="Enrol").click()
        await page.wait_for_url("**/jobs/*")
        await expect(page.locator("#job")).to_contain_text("waiting")
        kinds = {ENROL: _enrol_at_once}
        worker = asyncio.create_task(work(console.config, asyncio.Event(), until_idle=True, kinds=kinds))
        await expect(page.locator("#job")).to_contain_text(re.compile("done|failed"), timeout=350_000)
        await expect(page.locator("#job")).to_contain_text("washer version 1")
        await worker
        await page.get_by_role("link", name="Look at washer").click()
        await expect(page.locator("h1")).to_have_text("washer")
        assert visitor.faults == []


async def _enrol_at_once(config: Config, job: LongJob, progress: Progress) -> Done:
    """As the worker does it, but not in the idle class: on a machine full of tests that would never end."""
    done = await enrol_on_request(config, replace(enrolment_request_of(job), at_low_priority=False), progress)
    return Done(f"{done.version.product} version {done.version.version} is live", enrolled_document(done))


async def test_threshold_is_moved_by_looking_and_moved_back(visit: Visit) -> None:
    async with visit("eva") as visitor:
        for level in ("1.2", "1"):
            page = visitor.page
            await visitor.go("/products/disc")
            await page.locator("[data-moves-threshold]").fill(level)
            await expect(page.locator("#preview")).to_contain_text("Of the last")
            said = await page.locator("#preview").inner_text()
            await page.get_by_role("button", name="Move it there").click()
            await expect(page.locator("#move")).to_contain_text(said)
            await page.locator("#move input[name=reason]").fill(f"to {level} for the test")
            await page.get_by_role("button", name="Move the threshold").click()
            await expect(page.locator(".keys")).to_contain_text(f"at level {float(level):.2f}")
        await visitor.go("/audit")
        await expect(page.locator("tbody")).to_contain_text("to 1.2 for the test")
        assert visitor.faults == []


async def test_shift_sheet_is_printed_on_one_page(visit: Visit) -> None:
    async with visit("vera") as visitor:
        await visitor.go("/shift")
        await expect(visitor.page.locator(".headline")).to_contain_text("80")
        printed = await visitor.page.pdf(prefer_css_page_size=True)
        assert printed.startswith(b"%PDF")
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1


async def test_viewer_is_offered_no_change(visit: Visit) -> None:
    async with visit("vera") as visitor:
        for path in (
            "/",
            "/products",
            "/products/disc",
            "/shift",
            "/parts",
            "/results",
            "/contain",
            "/health",
            "/audit",
        ):
            await visitor.go(path)
            forms = await visitor.page.locator("main form[method=post]").count()
            assert forms == 0, path


async def test_dead_agent_is_shown_as_dead(line: Line, visit: Visit) -> None:
    async def live() -> None:
        while True:
            await line.live()
            await asyncio.sleep(0.5)

    async with visit("vera") as visitor:
        agent = asyncio.create_task(live())
        strip = visitor.page.locator("#strip")
        await expect(strip).not_to_contain_text("is silent", timeout=PATIENCE_MS)
        agent.cancel()
        await expect(strip).to_contain_text("Agent line1 is silent", timeout=PATIENCE_MS)


async def test_agent_that_was_stopped_is_shown_as_stopped_and_not_as_dead(line: Line, visit: Visit) -> None:
    async with visit("vera") as visitor:
        strip = visitor.page.locator("#strip")
        await line.live()
        await line.stop()
        await expect(strip).to_contain_text("Agent line1 was stopped at", timeout=PATIENCE_MS)
        await expect(strip).to_contain_text("by SIGTERM")
        await expect(strip).to_contain_text("Gate gate-cam1 has no agent: it was stopped")
        await visitor.page.wait_for_timeout(4500)  # longer than an agent may be silent
        await expect(strip.locator(".silent")).to_have_count(0)
        await line.live()
        await expect(strip).not_to_contain_text("was stopped", timeout=PATIENCE_MS)


async def test_camera_that_shows_nothing_new_is_called_old(visit: Visit) -> None:
    async with visit("vera") as visitor:
        card = visitor.page.locator("#camera-0 .card")
        await expect(card).to_have_class(re.compile("stale"), timeout=PATIENCE_MS)
        await expect(card.locator(".age")).to_contain_text("last frame")


async def test_page_says_that_it_is_not_live_and_comes_back_by_itself(visit: Visit, console: Console) -> None:
    async with visit("vera") as visitor:
        lost = visitor.page.locator("#lost")
        await expect(lost).to_be_hidden()
        listen = urlsplit(console.address).netloc
        assert console.end() == 0
        await expect(lost).to_be_visible(timeout=PATIENCE_MS)
        await expect(lost).to_contain_text("Not live")
        console.start(listen)
        await expect(lost).to_be_hidden(timeout=90_000)


async def test_no_request_leaves_the_machine_and_no_page_complains(visit: Visit, console: Console) -> None:
    async with visit("eva") as visitor:
        for path in PAGES:
            await visitor.go(path)
            await visitor.page.wait_for_load_state("load")
        assert {urlsplit(url).netloc for url in visitor.requests} == {urlsplit(console.address).netloc}
        assert visitor.faults == []


async def test_line_page_is_small(visit: Visit) -> None:
    async with visit("vera") as visitor:
        finished: list[Request] = []
        visitor.page.on("requestfinished", lambda request: finished.append(request))  # noqa: PLW0108 - no builtin is taken
        await visitor.page.reload()
        await visitor.page.wait_for_load_state("load")
        sizes = {
            each.url: await _size(each)
            for each in tuple(finished)
            if each.resource_type not in ("image", "eventsource")
        }
        assert 0 < sum(sizes.values()) < MOST_BYTES, sizes


async def _size(request: Request) -> int:
    return (await request.sizes())["responseBodySize"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
async def test_axe_finds_nothing_serious(visit: Visit, width: int, scheme: str) -> None:
    found: dict[str, list[str]] = {}
    async with visit("eva", width=width, height=844, scheme=scheme) as visitor:
        part = await _part(visitor)
        for path in (*PAGES, part):
            await visitor.go(path)
            await visitor.page.wait_for_load_state("load")
            results = await Axe().run(visitor.page)
            grave = [each for each in results.response["violations"] if each["impact"] in ("serious", "critical")]
            if grave:
                found[path] = [f"{each['id']}: {each['nodes'][0]['html'][:120]}" for each in grave]
    assert found == {}


@pytest.mark.parametrize("width", [390, 1280])
async def test_no_page_is_wider_than_its_screen(visit: Visit, width: int) -> None:
    async with visit("eva", width=width, height=844) as visitor:
        for path in (*PAGES, await _part(visitor)):
            await visitor.go(path)
            wide = await visitor.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, path


async def _part(visitor: Visitor) -> str:
    """The address of a reject's page."""
    await visitor.go("/results?outcome=reject")
    return await visitor.page.locator("tbody a").first.get_attribute("href") or ""
