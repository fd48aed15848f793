"""The examples in the README and on the pages of the documentation run."""

from pathlib import Path

import pytest

from skvae._fit import plan

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

pytestmark = pytest.mark.slow


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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_examples_run(page, code, monkeypatch):
    """With a fifth of the steps that models are trained for by default."""
    if "sklearn.callback" in code:
        pytest.importorskip("sklearn.callback", reason="before scikit-learn 1.9")
        pytest.importorskip("rich", reason="draws the bars")
    for name in ("STEPS", "STEPS_PER_ROOT_ROW"):
        monkeypatch.setattr(plan, name, getattr(plan, name) / 5)
    exec(compile(code, str(page), "exec"), {})
