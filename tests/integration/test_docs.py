"""The documentation names everything there is, and its code runs."""

from __future__ import annotations

import math
import re
import sys
import warnings
from pathlib import Path

import pytest

import critbatch
from critbatch.cli.app import app  # noqa: F401 - it registers the commands
from critbatch.cli.options import COMMANDS
from critbatch.recipes import RECIPES
from critbatch.tasks.builtin import TASKS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONAL = ("lightning", "accelerate", "transformers")  # packages of extras
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(page, block) for page in PAGES for block in CODE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{page.name}-{n}" for n, (page, _) in enumerate(BLOCKS)])
def test_the_code_in_the_docs_runs(page: Path, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for package in OPTIONAL:
        if re.search(rf"^(?:import|from) {package}\b", block, re.MULTILINE):
            pytest.importorskip("accelerate" if package == "transformers" else package)
            warnings.simplefilter("ignore")  # theirs
    # Whatever else this machine does while its tests run, the advice is to have an answer.
    monkeypatch.setattr("critbatch.law.clock_check.UNUSABLE", math.inf)
    exec(compile(block, str(page), "exec", dont_inherit=True), {})


@pytest.mark.parametrize("command", [name for name, spec in COMMANDS.items() if not spec.hidden])
@pytest.mark.parametrize("page", ["README.md", "README.zh.md", "docs"])
def test_every_command_is_in_the_docs(command: str, page: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in PAGES if page in str(path.relative_to(ROOT))]
    assert any(f"critbatch {command}" in text for text in texts)


def test_every_recipe_and_task_is_in_the_docs() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not [name for name in (*RECIPES, *TASKS) if f"`{name}`" not in text]


def test_every_public_name_is_in_the_reference() -> None:
    calls, listed = ((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in ("api", "records"))
    others = set(critbatch.__all__) - set(critbatch.records.__all__) - {"__version__", "recipes", "records"}
    assert not [name for name in others if f":: critbatch.{name}\n" not in calls]
    modules = {getattr(critbatch.records, name).__module__.rpartition(".")[2] for name in critbatch.records.__all__}
    assert not [module for module in modules if f".. records:: {module}\n" not in listed]


def test_links_within_the_docs_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_both_readmes_show_the_same_commands_and_figures() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    assert CODE.findall(english) == CODE.findall(chinese)
    assert re.findall(r"`critbatch [^`]+`", english) == re.findall(r"`critbatch [^`]+`", chinese)
    assert re.findall(r"!\[[^]]*\]\(([^)]*)\)", english) == re.findall(r"!\[[^]]*\]\(([^)]*)\)", chinese)


def test_the_figures_of_the_evidence_are_those_of_the_records() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import lecture_tables
        import recipe_figures
        import sweep_study
        from key_figures import advice_table, overhead_table, speed_table
        from loss_figures import TABLES
    finally:
        sys.path.pop(0)
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    for table in (advice_table(["digits-mlp", "mnist-mlp", "fashion-cnn"]), speed_table("mnist-mlp"), overhead_table()):
        assert table in text
    for made in TABLES:
        assert made() in text
    sweeps = (ROOT / "docs" / "sweep-study.md").read_text(encoding="utf-8")
    for name, table in sweep_study.tables().items():
        assert table in sweeps, name
    lecture = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8")
    for name, table in lecture_tables.tables().items():
        assert table in lecture, name
    study = (ROOT / "docs" / "recipe-study.md").read_text(encoding="utf-8")
    for name, table in recipe_figures.tables().items():
        assert table in study, name
