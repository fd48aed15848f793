"""The examples in the README and on the pages of the documentation run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

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


@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_examples_run(page, code):
    exec(compile(code, str(page), "exec"), {})
