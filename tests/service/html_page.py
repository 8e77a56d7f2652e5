"""Parse a page of the service for tests: its visible text, its tags, the text of its table rows."""

from collections.abc import Sequence
from html.parser import HTMLParser

from flask.testing import FlaskClient

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
"""What a browser accepts for a page."""


class Page(HTMLParser):
    """A page: `text` is its visible text, `rows` that of each table row, `chunks` the text between any two tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.chunks: list[str] = []
        self.feed(html)
        self.text = _collapse_spaces(self.chunks)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a tag with its attributes."""
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append("")

    def handle_data(self, data: str) -> None:
        """Record text."""
        self.chunks.append(data)
        if self.rows:
            self.rows[-1] = _collapse_spaces([self.rows[-1], data])

    def attributes_of(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every tag of this name."""
        return [attributes for name, attributes in self.tags if name == tag]

    def has_heading(self, *ids: str) -> bool:
        """Return whether the page has a second-level heading with one of these ids."""
        return any(heading.get("id") in ids for heading in self.attributes_of("h2"))


def get_page(client: FlaskClient, path: str = "/?lang=en", status: int = 200) -> Page:
    """Fetch a page and check its status and content type."""
    response = client.get(path, headers=BROWSER)
    assert response.status_code == status
    assert response.content_type == "text/html; charset=utf-8"
    return Page(response.text)


def _collapse_spaces(parts: Sequence[str]) -> str:
    """Join texts with single spaces. No-break spaces become plain ones."""
    return " ".join(" ".join(parts).split())
