"""Check the links of the built pages, without a network: ``python docs/links.py docs/_build/html``.

Every file and every anchor that a page names must exist, and links to other sites must be https.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page and where it links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links = {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"id", "name"} and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value:
                self.links.append(value)


def fault(path: Path, link: str, pages: dict[Path, Page]) -> str | None:
    """What is wrong with a link of the page at this path."""
    url = urlsplit(link)
    if url.scheme in {"data", "mailto"}:
        return None
    if url.scheme or url.netloc:
        return None if url.scheme == "https" else "is not https"
    target = (path.parent / unquote(url.path)).resolve() if url.path else path
    if not target.is_file():
        return "leads to no file"
    if target in pages and unquote(url.fragment) not in pages[target].anchors:
        return "leads to no anchor"
    return None


def main(folder: Path) -> int:
    pages = {path: Page(path) for path in folder.resolve().rglob("*.html")}
    faults = [
        f"{path.relative_to(folder.resolve())}: {link} {wrong}"
        for path, page in pages.items()
        for link in page.links
        if (wrong := fault(path, link, pages))
    ]
    print("\n".join(faults) or f"{len(pages)} pages, {sum(len(page.links) for page in pages.values())} links")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
