"""The pictures of a Markdown report: PNG and SVG files in a folder beside it, or the reason why there are none."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from critbatch.errors import UserError
from critbatch.reporting.figures.theme import Picture
from critbatch.reporting.paper_door import for_paper, has_matplotlib

PIXELS_PER_INCH = 200


class PictureFiles:
    """Draws pictures in paper style as they are asked for, and holds their files until they are written.

    Args:
        report: the Markdown file that they belong to.
    """

    def __init__(self, report: Path) -> None:
        self.folder = report.with_name(f"{report.stem}-figures")
        self.files: dict[Path, bytes] = {}
        self.drawn = 0
        # The key of the message that says why a picture is missing.
        self.obstacle = "" if has_matplotlib() else "format_no_matplotlib"

    def __call__(self, picture: Picture) -> tuple[str, str] | None:
        """The addresses of the PNG and the SVG from the report, or None where the picture cannot be drawn."""
        if self.obstacle in ("format_no_matplotlib", "format_no_font"):
            return None
        try:
            figure = for_paper(picture.figure)
        except UserError:
            self.obstacle = "format_no_font"
            return None
        except TypeError:
            self.obstacle = "format_not_drawable"
            return None
        self.drawn += 1
        places = [self.folder / f"figure-{self.drawn}.{kind}" for kind in ("png", "svg")]
        for place in places:
            file, kind = BytesIO(), place.suffix[1:]
            # No date in it: the same records give the same files.
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(file, format=kind, dpi=PIXELS_PER_INCH, metadata=metadata)
            self.files[place] = file.getvalue()
        png, svg = (quote(f"{self.folder.name}/{place.name}") for place in places)
        return png, svg

    def stale(self) -> list[Path]:
        """Pictures of an earlier report in that place."""
        there = [*self.folder.glob("figure-*.png"), *self.folder.glob("figure-*.svg")]
        return sorted(path for path in there if path not in self.files)
