"""Checks a built site: every link into it, every anchor and every picture leads somewhere; other sites are not asked.

    python docs/check_site.py build/site

Prints the links that lead nowhere and exits with 1 if there are any.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, text: str):
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects ids and addresses."""
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        self.links |= {given[name] for name in ("href", "src") if given.get(name)}


def broken_links(site: Path) -> list[str]:
    """``"page: link"`` for each link of the site that leads nowhere."""
    files = (path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts)  # a theme's templates
    pages = {path.resolve(): Page(path.read_text()) for path in files}
    if not pages:
        raise ValueError(f"{site} holds no pages")
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.exists() and site.resolve() in target.parents
            if not there or (target in pages and unquote(parts.fragment) not in pages[target].anchors):
                broken.append(f"{path.relative_to(site.resolve())}: {link}")
    return broken


if __name__ == "__main__":
    found = broken_links(Path(sys.argv[1]))
    print("\n".join(found) or "all links lead somewhere")
    sys.exit(bool(found))
