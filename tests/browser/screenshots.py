"""Screenshots of every page of the console over a drawn line, at a desk and on a phone, light and dark.

    python -m tests.browser.screenshots FOLDER

Enrols two drawn products, shows 400 parts, starts a console, and takes the pictures. Two minutes.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright

from inspector.config.loading import load
from inspector.domain import ReviewLabel, Role
from inspector.operation.reviews import give_review
from inspector.store.console.queue import QueueKind, waiting
from tests.browser.conftest import ARGUMENTS, CHROMIUM, Console, Visitor, add_person
from tests.browser.drawn import PRODUCTS, drawn
from tests.browser.scene import Line, Plan, write_config
from tests.shared import link_graphs

SIZES = ((1280, 800), (390, 844))
GOOD_IMAGES = 60
ENGINES = Path(tempfile.gettempdir()) / "inspector-screenshots"
PAGES = {
    "line": "/",
    "review": "/review",
    "products": "/products",
    "product": "/products/ring",
    "enrol": "/enrol",
    "shift": "/shift",
    "parts": "/parts",
    "contain": "/contain?span=24h",
    "results": "/results",
    "health": "/health",
    "audit": "/audit",
    "people": "/people",
}


async def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        await take(Path(folder), target)


async def take(folder: Path, target: Path) -> None:
    """The pictures of a line that lives while they are taken."""
    path = write_config(folder, ("cam1", "cam2"))
    await asyncio.to_thread(enrol, folder, path)
    async with Line(load(path), drawn) as line:
        for name, role in (("otto", Role.OPERATOR), ("eva", Role.ENGINEER)):
            await add_person(line.config, name, role)
        await line.show(Plan(products=PRODUCTS, parts=200, gap_s=6.0))
        await review(line)
        console = Console(folder, path).start()
        alive = asyncio.create_task(live(line))
        try:
            await shoot(console.address, target)
        finally:
            alive.cancel()
            console.end()


def enrol(folder: Path, config: Path) -> None:
    """Both products, live. Exported graphs are taken from the last time, and kept for the next."""
    engines = folder / "state" / "engines"
    link_graphs(ENGINES, engines)
    for product in PRODUCTS:
        images = folder / "good" / product
        images.mkdir(parents=True)
        for seed in range(GOOD_IMAGES):
            (images / f"{seed:03}.jpg").write_bytes(drawn(product, seed, True))
        command = [
            sys.executable,
            "-m",
            "inspector",
            "enroll",
            product,
            str(images),
            "--full-speed",
            "--profile",
            "fast",
        ]
        subprocess.run([*command, "--no-detectability", "--config", str(config)], check=True, timeout=1800)
    link_graphs(engines, ENGINES)


async def review(line: Line) -> None:
    """A few words of people, so that no page is empty."""
    rows = await waiting(line.database, QueueKind.REJECT, keep_passes=1.0, limit=30)
    for number, row in enumerate(rows[12:24]):
        label = ReviewLabel.GOOD if number % 6 == 5 else ReviewLabel.BAD
        await give_review(line.config, row.result_id, label, by="otto", kind=("scratch", "dent", None)[number % 3])


async def live(line: Line) -> None:
    """Signs of life, and a part now and then, so that the line is live."""
    number = 0
    while True:
        await line.live()
        if number % 6 == 0:
            for camera, product in zip(("cam1", "cam2"), PRODUCTS, strict=True):
                await line.part(camera, product)
        number += 1
        await asyncio.sleep(0.5)


async def shoot(address: str, target: Path) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for scheme in ("light", "dark"):
            for width, height in SIZES:
                context = await browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
                )
                visitor = Visitor(await context.new_page(), address)
                await visitor.go("/sign-in")
                await visitor.page.screenshot(path=target / f"sign-in-{width}-{scheme}.png")
                await visitor.sign_in("eva")
                await visitor.go("/results?outcome=reject")
                part = await visitor.page.locator("tbody a").nth(2).get_attribute("href")
                for name, path in {**PAGES, "part": part or "/"}.items():
                    await visitor.go(path)
                    if name == "part":
                        await visitor.page.wait_for_selector("#nearest", timeout=60_000)
                    await visitor.page.wait_for_timeout(1500)
                    await visitor.page.screenshot(path=target / f"{name}-{width}-{scheme}.png")
                assert visitor.faults == [], visitor.faults
                await context.close()
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")))
