"""Print the HTML page as a PDF with an installed Chromium or Chrome."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from critbatch.errors import UserError

VARIABLE = "CRITBATCH_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
OTHERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
TIMEOUT = 180.0  # seconds; a study of ten thousand runs takes a tenth of this
DRAWING = 60_000  # milliseconds of the page's virtual time, which skips idle periods
OTHER_WAYS = f"or write the report as HTML and print it from any browser, {VARIABLE}=/path/to/browser names another one"
# Paper has no buttons and does not scroll.
PRINT_STYLE = (
    "<style>@page { size: A4; } .modebar { display: none !important; } "
    "pre { overflow: visible; white-space: pre-wrap; }</style></head>"
)


def find_browser() -> str:
    """Path of the browser for printing.

    Raises:
        UserError: if there is none, or the one that $CRITBATCH_BROWSER names is not there.
    """
    configured = os.environ.get(VARIABLE)
    if configured:
        path = shutil.which(configured)
        if path is None:
            raise UserError(
                f"{VARIABLE}={configured} is no program that can be run: give the path of Chromium or Chrome."
            )
        return path
    for name in (*NAMES, *OTHERS):
        if (path := shutil.which(name)) is not None:
            return path
    raise UserError(
        "A PDF is printed by Chromium or Chrome, and neither was found: install one (`apt install chromium`), "
        f"{OTHER_WAYS}."
    )


def print_pdf(page: str, beside: Path, *, timeout: float = TIMEOUT) -> bytes:
    """The page as a PDF, with its figures drawn.

    Args:
        page: the HTML.
        beside: a folder for temporary files of the browser, which are removed at the end. The system's temporary
            folder is not used, since some packages of Chromium cannot read it.
        timeout: seconds.

    Raises:
        UserError: if there is no browser, it takes longer, or it does not print.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="critbatch-", dir=beside, ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve()
        source, target = place / "page.html", place / "page.pdf"
        source.write_text(page.replace("</head>", PRINT_STYLE, 1), encoding="utf-8", errors="replace")
        words = _run([browser, *_options(place / "profile", target), source.as_uri()], timeout)
        content = target.read_bytes() if target.is_file() else b""
    if not (content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")):
        detail = f" ({words})" if words else ""
        raise UserError(f"{browser} did not print the report{detail}: try another browser, {OTHER_WAYS}.")
    return content


def _options(profile: Path, target: Path) -> list[str]:
    options = [
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",  # too small in most containers
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        "--no-pdf-header-footer",
        f"--user-data-dir={profile}",
        f"--virtual-time-budget={DRAWING}",
        f"--print-to-pdf={target}",
    ]
    # Chromium has no sandbox as root, and containers run as root. The page is ours and loads nothing.
    return [*options, "--no-sandbox"] if os.geteuid() == 0 else options


def _run(command: list[str], timeout: float) -> str:
    """Run the command and end all processes that it started. Returns the last line of its error output."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, complaint = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{command[0]} did not print the report within {timeout:g} seconds: try again when the machine is less "
            f"busy, {OTHER_WAYS}."
        ) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
    rows = complaint.decode(errors="replace").strip().splitlines()
    return rows[-1][:200] if rows else ""
