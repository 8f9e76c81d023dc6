"""Sphinx settings: the pages are Markdown, and the API reference comes from the docstrings."""

from critbatch.version import __version__

project = "critbatch"
author = "The critbatch developers"
copyright = "2026, the critbatch developers"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "critbatch"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = True
