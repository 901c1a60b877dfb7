"""`make screenshots`: every page at a phone's and a desk's width, light and dark, from a fresh `sessile demo`.

All go to build/screenshots; those that the docs show go to docs/pictures as well, in few colours to be light.
"""

from __future__ import annotations

import asyncio
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.browser import launched
from tests.pages import PAGES, demo, tour

ROOT = Path(__file__).parents[1]
ALL = ROOT / "build" / "screenshots"
PICTURES = ROOT / "docs" / "pictures"
WIDTHS = {"desk": 1180, "phone": 390}
HEIGHT = 900
TALLEST = 1_600
"""Pixels of a picture in the docs."""
LARGEST = 150_000
"""Bytes of one: pictures weigh on every clone."""
SHOWN = {
    "account-desk-light", "account-phone-dark", "console-desk-light", "overview-desk-light", "overview-desk-dark",
    "contain-desk-light", "containment-desk-light", "audit-desk-dark", "session-desk-light", "principal-phone-light",
}  # fmt: skip
"""What the docs show."""


async def take() -> int:
    taken = 0
    with demo() as world:
        async with launched() as browser:
            for width, pixels in WIDTHS.items():
                for scheme in ("light", "dark"):
                    async with tour(
                        browser, world, viewport={"width": pixels, "height": HEIGHT}, color_scheme=scheme
                    ) as going:
                        for seen in PAGES:
                            tab = await going.page(seen)
                            picture = await tab.screenshot(full_page=True)
                            await tab.close()
                            name = f"{seen.name}-{width}-{scheme}"
                            (ALL / f"{name}.png").write_bytes(picture)
                            if name in SHOWN:
                                _keep(picture, PICTURES / f"{name}.png")
                            taken += 1
    return taken


def _keep(picture: bytes, path: Path) -> None:
    image = Image.open(BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, TALLEST)))
    image.quantize(64).save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, and may have {LARGEST:,}: show less")


def main() -> None:
    for folder in (ALL, PICTURES):
        folder.mkdir(parents=True, exist_ok=True)
    for old in (*ALL.glob("*.png"), *PICTURES.glob("*.png")):
        old.unlink()
    taken = asyncio.run(take())
    sys.stdout.write(f"{taken} pictures in {ALL.relative_to(ROOT)}, {len(SHOWN)} of them in docs/pictures\n")


if __name__ == "__main__":
    main()
