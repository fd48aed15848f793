"""The examples in the README and on the pages of the documentation run, and their lines can be read without scrolling."""

import ast
import re
from pathlib import Path

import pytest

from skvae import _anomaly
from skvae._fit import plan

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = sorted((ROOT / "skvae").rglob("*.py"))

COLUMNS = 80  # of a line of code that a page shows whole
STEPS = {  # of training, by default
    plan: [name for name in vars(plan) if name.startswith("STEPS")],
    _anomaly: ["FEWEST_STEPS", "MOST_STEPS"],
}
EPOCHS = re.compile(r"(?<=max_iter=)\d+")  # that a page asks for
PROCESSES = {"n_workers=2": "n_workers=1, processes=False"}  # tests/test_dask.py has two, which take seconds to start


def examples(page: Path) -> list[str]:
    """The Python of a page, each line at its number.

    The README's examples stand alone; those of other pages go on from each other.
    """
    blocks, inside = [[]], False
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        inside = not line.startswith("```") if inside else line.startswith("```python")
        if inside and line.startswith("```") and page.stem == "README":
            blocks.append([""] * number)
        blocks[-1].append(line if inside and not line.startswith("```") else "")
    return ["\n".join(block) for block in blocks if any(block)]


EXAMPLES = [pytest.param(page, code, id=f"{page.stem}-{i}") for page in PAGES for i, code in enumerate(examples(page))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_examples_run(page, code, monkeypatch, tmp_path):
    """With a fiftieth of the steps that models are trained for by default, and with few epochs where a page asks for some."""
    if "sklearn.callback" in code:
        pytest.importorskip("sklearn.callback", reason="before scikit-learn 1.9")
        pytest.importorskip("rich", reason="draws the bars")
    monkeypatch.chdir(tmp_path)
    for module, names in STEPS.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name) / 50)
    code = EPOCHS.sub("3", code)
    for piece, small in PROCESSES.items():
        code = code.replace(piece, small)
    exec(compile(code, str(page), "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_examples_are_short(page):
    lines = {line for code in examples(page) for line in code.splitlines()}
    assert [line for line in lines if len(line) > COLUMNS] == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_lines_of_examples_in_docstrings_are_short(module):
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))) if isinstance(node, owners)]
    lines = [line for node in nodes for line in (ast.get_docstring(node) or "").splitlines()]
    assert [line for line in lines if line.startswith((">>> ", "... ")) and len(line) > COLUMNS] == []
