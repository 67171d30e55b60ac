"""The page in headless Chromium: no error in its console, nothing asked of any server, tables that sort."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imbal_jax.report import build
from tests.test_report import enrich, fabricate

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking")
FLAGS += ("disable-component-update", "disable-sync", "disable-extensions", "enable-logging=stderr")
# Runs before anything of the page; what it finds is written into the page, which the browser then prints.
PROBE = """<script>
const found = {errors: [], requests: [], orders: {}};
addEventListener("error", (event) => found.errors.push(String(event.message || event.target.tagName)), true);
addEventListener("securitypolicyviolation", (event) => found.requests.push(event.blockedURI));
const said = console.error;
console.error = (...words) => { found.errors.push(words.join(" ")); said(...words); };
addEventListener("load", () => {
  found.requests.push(...performance.getEntriesByType("resource").map((entry) => entry.name));
  const table = document.querySelector("table");
  const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].innerText.trim());
  const state = (head) => [head.getAttribute("aria-sort"), ...order()];
  const heads = [...table.tHead.rows[0].cells];
  found.orders.start = state(heads[1]);
  for (const [name, times] of [["Method", 1], ["Time", 1], ["Time", 2], ["Difference", 1]]) {
    const head = heads.find((cell) => cell.innerText.startsWith(name));
    const button = head.querySelector("button");
    button.focus();
    found.focused = document.activeElement === button;
    button.click();
    found.orders[name + times] = state(head);
  }
  found.sorted = heads.filter((head) => head.hasAttribute("aria-sort")).length;
  found.wide = document.documentElement.scrollWidth - innerWidth;
  const frame = table.closest(".scroll");
  found.cut = frame.scrollWidth - frame.clientWidth;
  found.heads = heads.map((cell) => cell.innerText.trim());
  const output = document.createElement("pre");
  output.id = "found";
  output.textContent = JSON.stringify(found);
  document.body.append(output);
});
</script>"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the probe found in a page with three arms, of which one failed on one seed."""
    folder = tmp_path_factory.mktemp("browser")
    return probed(folder, fabricate(folder / "run", samples=True))


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The same of a page with all that only some runs have."""
    folder = tmp_path_factory.mktemp("rich")
    return probed(folder, enrich(fabricate(folder / "run")))


@pytest.fixture(scope="module")
def on_a_laptop(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The page with all that only some runs have, in a window of 1280 pixels."""
    folder = tmp_path_factory.mktemp("laptop")
    return probed(folder, enrich(fabricate(folder / "run", failed=False)), width=1280)


def probed(folder: Path, workdir: Path, width: int = 500) -> dict:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_draw", lambda run: None)
        page = build.build(workdir)
    copy = folder / "page.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("<title>", f"{PROBE}<title>", 1), encoding="utf-8")
    return look(browser, copy, folder / "profile", width)


def look(browser: str, page: Path, profile: Path, width: int) -> dict:
    flags = [f"--{flag}" for flag in (*FLAGS, f"window-size={width},900", f"user-data-dir={profile}", "dump-dom")]
    done = subprocess.run([browser, *flags, page.as_uri()], capture_output=True, text=True, timeout=120, check=False)
    output = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert output, f"the page wrote nothing; the browser said: {done.stderr[-1000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(output[1])) | {"console": console}


def test_nothing_goes_wrong_and_nothing_is_asked_for(found, rich):
    for page in (found, rich):
        assert page["errors"] == [] and page["console"] == []
        assert [name for name in page["requests"] if not name.startswith("data:")] == []


def test_a_table_is_sorted_by_a_click_on_a_head(found):
    states = {name: rows[0] for name, rows in found["orders"].items()}
    orders = {name: "".join(re.sub(r"\d\s+", "", row)[0] for row in rows[1:]) for name, rows in found["orders"].items()}
    # Arms none, over and gan_synth by their first letters; s: the source's published figure, which has no time.
    assert (states.pop("start"), orders.pop("start")) == ("descending", "ongs")
    assert states == {"Method1": "ascending", "Time1": "ascending", "Time2": "descending", "Difference1": "ascending"}
    assert orders == {"Method1": "gnos", "Time1": "nogs", "Time2": "gnos", "Difference1": "gnos"}


def test_heads_take_the_focus_and_one_column_is_marked(found):
    assert found["focused"] and found["sorted"] == 1


def test_the_page_is_no_wider_than_a_narrow_window(found, rich):
    assert found["wide"] <= 0 and rich["wide"] <= 0


def test_the_table_of_arms_is_whole_in_a_window_of_1280_pixels(on_a_laptop):
    assert len(on_a_laptop["heads"]) >= 14 and on_a_laptop["cut"] <= 0, on_a_laptop["heads"]
