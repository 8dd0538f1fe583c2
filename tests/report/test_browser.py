"""The page in headless Chromium: on a phone and on a desk, light and dark, and on paper."""

import html
import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from jax_mlperf.mlperf.reading.result_set import read_result_sets
from jax_mlperf.report.page import html as page
from jax_mlperf.report.scaling import read_scaling

pytestmark = pytest.mark.slow

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars")
SCHEMES = {"dark": 0, "light": 1}
WIDTHS = (360, 790, 1200)

MEASURE = """
function luminance(colour) {
  return colour.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
}
function rgb(text) { return text.match(/[\\d.]+/g).map(Number); }
function contrast(a, b) {
  const [x, y] = [luminance(rgb(a)), luminance(rgb(b))].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
}
function backdrop(view, node) {
  for (; node; node = node.parentElement) {
    const colour = view.getComputedStyle(node).backgroundColor;
    if ((rgb(colour)[3] ?? 1) > 0) return colour;
  }
}
function overlaps(svg) {
  const boxes = [...svg.querySelectorAll('text')].map(node => [node.textContent, node.getBoundingClientRect()]);
  const found = [], frame = svg.getBoundingClientRect();
  boxes.forEach(([text, a], at) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1) found.push(['outside', text]);
    boxes.slice(at + 1).forEach(([other, b]) => {
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5)
        found.push([text, other]);
    });
  });
  return found;
}
function measure(frame) {
  const view = frame.contentWindow, page = frame.contentDocument, root = page.documentElement;
  page.querySelectorAll('details').forEach(node => { node.open = true; });
  const charts = [...page.querySelectorAll('svg.chart')].filter(node => node.getClientRects().length);
  const inks = {};
  const add = (name, value) => { inks[name] = Math.min(inks[name] ?? 99, value); };
  const background = view.getComputedStyle(page.body).backgroundColor;
  for (const node of page.querySelectorAll('h1, h2, h3, h4, p, li, th, td, summary, a, figcaption, footer, b'))
    if (node.getClientRects().length) add('words', contrast(view.getComputedStyle(node).color, backdrop(view, node)));
  let smallest = 99;
  for (const svg of charts) {
    for (const node of svg.querySelectorAll('text')) {
      add('labels', contrast(view.getComputedStyle(node).fill, background));
      smallest = Math.min(smallest, parseFloat(node.getAttribute('font-size')) * node.getScreenCTM().a);
    }
    for (const node of svg.querySelectorAll('.line, .target, .cross, .mean, .hollow, .axis, .area.empty'))
      add('marks', contrast(view.getComputedStyle(node).stroke, background));
    for (const node of svg.querySelectorAll('.mark, .area:not(.empty)')) add('marks', contrast(view.getComputedStyle(node).fill, background));
  }
  return {width: root.clientWidth, scroll: root.scrollWidth, background: rgb(background), text: rgb(view.getComputedStyle(page.body).color),
    charts: charts.length, inks: inks, smallest: smallest, overlaps: charts.flatMap(overlaps), height: root.scrollHeight,
    requests: view.performance.getEntriesByType('resource').map(entry => entry.name)};
}
window.onload = () => {
  document.getElementById('result').textContent = JSON.stringify([...document.querySelectorAll('iframe')].map(measure));
};
"""


@pytest.fixture(scope="module")
def chromium() -> str:
    """The browser, where one is installed."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH")
    return found


def browse(chromium: str, folder: Path, *arguments: str) -> str:
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measure(chromium: str, folder: Path, report: str, scheme: str) -> list[dict[str, Any]]:
    """What a browser with this colour scheme makes of the page, at each of the widths."""
    frames = "".join(f'<iframe srcdoc="{html.escape(report)}" style="width:{width}px;height:900px;border:0"></iframe>' for width in WIDTHS)
    wrapper = folder / f"{scheme}.html"
    wrapper.write_text(f'<!DOCTYPE html><meta charset="utf-8"><pre id="result"></pre>{frames}<script>{MEASURE}</script>', encoding="utf-8")
    dom = browse(chromium, folder, f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", "--window-size=1300,1000", "--dump-dom", wrapper.as_uri())
    result = re.search(r'<pre id="result">(.*?)</pre>', dom, re.S)
    assert result and result[1], "the page was not measured"
    return json.loads(html.unescape(result[1]))


@pytest.fixture
def report(results: Path, study: Path, odd: Path) -> str:
    """A page with everything in it."""
    return page(read_result_sets([results]), read_scaling([results]))


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_the_page_is_legible_at_each_width(chromium: str, tmp_path: Path, report: str, scheme: str) -> None:
    for found in measure(chromium, tmp_path, report, scheme):
        assert found["width"] in WIDTHS and found["scroll"] <= found["width"], found
        assert found["requests"] == []
        assert found["charts"] >= 25
        assert found["smallest"] >= 9.5
        assert found["overlaps"] == []
        assert found["inks"]["words"] >= 4.5 and found["inks"]["labels"] >= 4.5 and found["inks"]["marks"] >= 3, found["inks"]
        bright, dark = ("background", "text") if scheme == "light" else ("text", "background")
        assert min(found[bright][:3]) > 220 and max(found[dark][:3]) < 40


def test_the_page_prints_light_on_several_sheets(chromium: str, tmp_path: Path, report: str) -> None:
    source, target = tmp_path / "report.html", tmp_path / "report.pdf"
    source.write_text(report, encoding="utf-8")
    browse(chromium, tmp_path, "--blink-settings=preferredColorScheme=0", "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri())
    pdf = target.read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 3
    contents = []
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S):
        try:
            contents.append(zlib.decompress(stream))
        except zlib.error:
            continue
    drawn = b"\n".join(contents)
    assert drawn.count(b"Tj") + drawn.count(b"TJ") > 200
    # The dark scheme's background, #14171b, and the light scheme's blue, #2f6db5, as PDF writes them.
    assert not re.search(rb"\.078\d* \.090\d* \.10[56]\d* rg", drawn)
    assert re.search(rb"\.184\d* \.427\d* \.7[01]\d* rg", drawn)
