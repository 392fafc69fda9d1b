"""Make the pictures of README and the pages.

    PYTHONPATH=src:. python docs/make_pictures.py                       # the drawn ones
    PYTHONPATH=src:. python docs/make_pictures.py --run RUN             # the photographed ones too

Drawn, and held to their sources by a test: the chart of few labels (benchmarks/quality) and
`tamis explain` in a terminal (docs/examples.json). Photographed in a headless Chromium, light and
dark: the page of `tamis serve` and the report of a run. Make those anew after either has changed;
RUN is a run of `tamis train sms-spam --tune head`. docs/make_readme.py makes overview.png.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))  # the other scripts, also when a test loads this one

import make_examples  # noqa: E402
import make_readme  # noqa: E402

PICTURES = DOCS / "pictures"
FEW_LABELS, EXPLAIN = PICTURES / "few-labels.svg", PICTURES / "explain.svg"
SCHEMES = ("light", "dark")
PHOTOGRAPHED = ("page", "report")
LARGEST = 150_000
"""Bytes of a picture."""
MESSAGES = (
    "Your free prize is waiting. Call 0900 555 0123 now",
    "Hey, running ten minutes late, save me a seat x",
    "See you at six?",
    "WINNER! Claim your free 1,000 prize now, call 0900 555 0199 before midnight",
)
"""What is pasted into the page; all of them are in make_examples.EXAMPLES."""
WINDOW = {"width": 1100, "height": 690}
MARGIN = 3
"""Pixels below the table of verdicts."""
COLUMNS = 84
MONOSPACE = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "'DejaVu Sans', Verdana, sans-serif"
DARK = {
    "#ffffff": "#161b22",  # ground
    "#222222": "#d6dde6",  # letters
    "#000000": "#d6dde6",
    "#e6e6e6": "#30363d",  # grid
    "#8c8c8c": "#8b949e",
    "#0072b2": "#56b4e9",  # the palette's lighter blue
    "#d55e00": "#ff9d5c",
    "#009e73": "#3fc79a",
}
"""Colours of a chart where the reader's system is dark."""


def photograph(name: str, scheme: str) -> Path:
    """Where a photographed picture lies."""
    return PICTURES / f"{name}-{scheme}.png"


def few_labels() -> str:
    """The chart of few labels as an SVG that follows the reader's light or dark scheme."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from tamis.evaluation.report.canvas import house_style

    out = io.StringIO()
    fixed = {"svg.fonttype": "none", "svg.hashsalt": "tamis"}
    with house_style(), matplotlib.rc_context(fixed):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(6.4, 4.2), layout=layout)
        FigureCanvasSVG(figure)
        make_readme.draw_few_labels(figure.subplots(), make_readme.curves())
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", SANS)
    # Letters without a colour of their own are black.
    rules = ["text { fill: #222222; }", "@media (prefers-color-scheme: dark) {"]
    rules += ["text { fill: #d6dde6 !important; }"]
    for light, dark in DARK.items():
        for part in ("fill", "stroke"):
            rules.append(f'[style*="{part}: {light}"] {{ {part}: {dark} !important; }}')
    sheet = "<style>" + "\n".join([*rules, "}"]) + "</style>"
    svg = svg.replace("<defs>", f"{sheet}\n<defs>", 1)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def explain_in_a_terminal() -> str:
    """`tamis explain` as a terminal shows it: an SVG with no font from another host."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f'$ tamis explain runs/first "{make_examples.EXPLAINED}"', style="bold"))
    shown = Text(explanation().to_text().rstrip())
    shown.highlight_regex(r"█+", "cyan")
    shown.highlight_regex(r"░+", "yellow")
    shown.highlight_regex(r"\A[^:]+:", "bold")
    shown.highlight_regex(r"  < from here .*", "green")
    console.print(shown)
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(
        title="tamis explain",
        unique_id="explain",
        code_format=without_fonts.replace("Fira Code, monospace", MONOSPACE),
    )
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def explanation() -> Any:
    """The explanation that docs/examples.json holds."""
    from tamis.classifier.explain import Explanation, TokenPoint, WordAttribution

    found = make_examples.results()["explanation"]
    tokens = [TokenPoint(t["start"], t["end"], t["probability"]) for t in found.pop("tokens")]
    words = [WordAttribution(w["start"], w["end"], w["attribution"]) for w in found.pop("words")]
    del found["remainder"]  # the sum of the others
    return Explanation(**found, tokens=tuple(tokens), words=tuple(words))


DRAWN = {FEW_LABELS: few_labels, EXPLAIN: explain_in_a_terminal}


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium of this machine.

    Raises:
        FileNotFoundError: there is none.
    """
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        raise FileNotFoundError(
            f"expected one of {', '.join(names)} (Debian: apt install chromium)"
        )
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, chromium_sandbox=False)
        yield browser
        browser.close()


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of a server of a run."""
    program = "from tamis.cli import main; main()"
    command = [sys.executable, "-c", program, "serve", str(run), "--port", "0", "--threads", "1"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        if found is None:
            raise RuntimeError(f"tamis serve {run} printed no address")
        yield found[0].rstrip("/")
    finally:
        server.terminate()
        server.wait()


def photograph_all(run: Path) -> None:
    """The page with verdicts on it, and the top of the report."""
    from playwright.sync_api import expect

    with chromium() as browser, served(run) as address:
        for scheme in SCHEMES:
            context = browser.new_context(color_scheme=scheme, viewport=WINDOW)
            page = context.new_page()
            page.goto(address)
            page.get_by_label("Paste messages").fill("\n".join(MESSAGES))
            page.get_by_role("button", name="Classify", exact=True).click()
            expect(page.locator("#shown")).to_have_text(re.compile(rf" of {len(MESSAGES)}$"))
            expect(page.locator("#verdicts")).not_to_contain_text("pending")
            page.evaluate("scrollTo(0, 0)")  # boxes are measured from the top of the window
            table = page.locator("#verdicts").bounding_box()
            shown = WINDOW | {"x": 0, "y": 0, "height": table["y"] + table["height"] + MARGIN}
            found = page.screenshot(full_page=True, clip=shown)
            write_png(photograph("page", scheme), found)
            page.goto((run / "report.html").resolve().as_uri())
            page.wait_for_load_state("networkidle")
            write_png(photograph("report", scheme), page.screenshot())
            context.close()


def write_png(path: Path, content: bytes) -> None:
    """Write a picture with a palette of 256 colours, which its few colours fit into.

    Raises:
        ValueError: it is still larger than LARGEST.
    """
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(content)) as picture:
        picture.convert("RGB").quantize(256).save(out, format="PNG", optimize=True)
    if len(out.getvalue()) > LARGEST:
        raise ValueError(f"{path.name}: expected at most {LARGEST:,} bytes, got {out.tell():,}")
    path.write_bytes(out.getvalue())


def main() -> None:
    """Draw, and photograph if there is a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a run of tamis train sms-spam --tune head")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for path, draw in DRAWN.items():
        path.write_text(draw(), encoding="utf-8")
    if options.run is not None:
        photograph_all(options.run)


if __name__ == "__main__":
    main()
