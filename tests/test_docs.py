"""The examples in the README and on the pages of the documentation run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

pytestmark = pytest.mark.slow


def examples(page: Path) -> str:
    """The Python of a page, in its order; where a line stands on the page it stands here."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        inside = not line.startswith("```") if inside else line.startswith("```python")
        lines.append(line if inside and not line.startswith("```") else "")
    return "\n".join(lines)


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")])
def test_examples_run(page):
    exec(compile(examples(page), str(page), "exec"), {})
