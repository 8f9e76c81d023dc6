"""How long a browser takes until the largest report is of use: until its load event and its first figure.

    .venv/bin/python benchmarks/report_load.py

The page is made from the sample records of the tests: a study of 2,000 runs, an advice, and every measurement, with 40
figures in each language or more. Each opening is that of a new context of Chromium, offline, with nothing in its cache.
Writes `results/report-load.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from plotly.offline import get_plotlyjs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "fixtures"))

import sample_loss_surface as loss  # noqa: E402
import sample_records as sample  # noqa: E402
import sample_scaling as scale  # noqa: E402
import sample_studies as studies  # noqa: E402
from critbatch.records.core import Record  # noqa: E402
from critbatch.reports import html as page  # noqa: E402
from critbatch.reports.write import report as write_report  # noqa: E402
from critbatch.runtime.device import describe_machine  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
RUNS = 2000
FIGURES = 40
# Set before the page is read: when the first figure is in it, when that is on the screen, how long nothing answers.
CLOCK = """
window.told = { first: null, painted: null, longest: 0 };
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) told.longest = Math.max(told.longest, task.duration);
}).observe({ type: "longtask", buffered: true });
new MutationObserver((_, observer) => {
  if (!document.querySelector(".translation:not([hidden]) .plot .main-svg")) return;
  observer.disconnect();
  told.first = performance.now();
  requestAnimationFrame(() => setTimeout(() => { told.painted = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""
TOLD = """new Promise((done) => {
  const wait = () => {
    const load = performance.getEntriesByType("navigation")[0];
    if (!load.loadEventEnd || told.painted === null) return setTimeout(wait, 20);
    setTimeout(() => done({
      load: load.loadEventEnd / 1000, first: told.first / 1000, longest: told.longest / 1000,
      usable: Math.max(told.painted, load.loadEventEnd) / 1000,
    }), 1500);
  };
  wait();
})"""


def large_study() -> Record:
    """The study of the tests with other seeds, until it has so many runs."""
    few = sample.study(seeds=1, evaluations=24).runs
    many = [replace(run, seed=seed) for seed in range(RUNS // len(few) + 1) for run in few]
    return studies.study(runs=tuple(many[:RUNS]))


def records() -> list[Record]:
    """Chapters with FIGURES figures in each language, the study of many runs first."""
    return [
        large_study(),
        sample.advice(),
        *(sample.study("mnist-mlp").runs),
        studies.fit(),
        sample.speed(),
        sample.noise(),
        loss.layered_noise(),
        scale.measured(),
        loss.curvature(),
        loss.sharpness(),
        loss.line(),
        loss.plane(),
        loss.shift(),
        loss.critical_point(),
        loss.escape(),
        sample.advice("mnist-mlp"),
        studies.study("mnist-mlp"),
    ]


def opened(browser: Any, address: str, *, width: int) -> dict[str, float]:
    """Seconds from the start of one opening."""
    context = browser.new_context(viewport={"width": width, "height": 800}, offline=True)
    page = context.new_page()
    page.add_init_script(CLOCK)
    page.goto(address)
    told: dict[str, float] = page.evaluate(TOLD)
    context.close()
    return told


def timed(browser: Any, path: Path, *, width: int, times: int) -> dict[str, Any]:
    """Of so many openings after one that counts for nothing."""
    each = [opened(browser, path.as_uri(), width=width) for _ in range(times + 1)][1:]
    return {
        "seconds_to_load_event": spread([one["load"] for one in each]),
        "seconds_to_first_figure": spread([one["first"] for one in each]),
        "seconds_until_usable": spread([one["usable"] for one in each]),
        "seconds_of_longest_task": spread([one["longest"] for one in each]),
    }


def spread(found: list[float]) -> dict[str, Any]:
    return {"median": median(found), "least": min(found), "most": max(found), "n": len(found)}


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9)
    asked = parser.parse_args()
    result: dict[str, Any] = {
        "command": " ".join(["python", "benchmarks/report_load.py", *sys.argv[1:]]),
        "goal": "the first figure drawn and the page loaded in under 2 s",
        "runs": RUNS,
    }
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = write_report(records(), Path(folder) / "report.html")
        text = path.read_text(encoding="utf-8")
        result["figures_of_a_language"] = text.count('class="plot"') // 2
        assert result["figures_of_a_language"] >= FIGURES
        result["bytes_of_page"] = path.stat().st_size
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        result["browser"] = f"Chromium {browser.version}"
        for name, width in (("desk", 1100), ("phone", 360)):
            result[name] = timed(browser, path, width=width, times=asked.times)
        # What the page had before: to see what the bundle for plane axes is worth.
        page.LIBRARY = Path(folder) / "plotly.min.js"
        page.LIBRARY.write_text(get_plotlyjs(), encoding="utf-8")
        whole = write_report(records(), Path(folder) / "whole.html")
        result["bytes_of_page_with_whole_library"] = whole.stat().st_size
        result["desk_with_whole_library"] = timed(browser, whole, width=1100, times=asked.times)
        browser.close()
    result["load_average"] = os.getloadavg()
    result["machine"] = json.loads(describe_machine(torch.device("cpu")).to_json())
    print(json.dumps(result, indent=1))
    (HERE / "results" / "report-load.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
