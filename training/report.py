"""A document of headings, paragraphs, lists, tables and figures, written as Markdown or as one HTML file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:68rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}"
    "h1{font-size:1.6rem}"
    "body{color:#1c1c1c;background:#fff}"
    "table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto;font-variant-numeric:tabular-nums}"
    "th,td{padding:.15rem .7rem .15rem 0;text-align:right;white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:#fff}"
    "th{border-bottom:1px solid #888;font-weight:600}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    "svg{max-width:100%;height:auto}"
    "figure{display:inline-block;max-width:20rem;margin:1rem 1rem 1rem 0;vertical-align:top}"
)


@dataclass(frozen=True)
class Heading:
    """A heading. Level 1 is the title of the document."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain text, or code if `code` is true."""

    text: str
    code: bool = False


@dataclass(frozen=True)
class BulletList:
    """A list of short texts."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """An SVG drawing with a caption that says what it shows."""

    svg: str
    caption: str


Block = Heading | Paragraph | BulletList | Table | Figure


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Write the document as CommonMark with tables; figures are inline SVG."""
    return "\n\n".join([f"# {title}", *map(_block_to_markdown, blocks)]) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write the document as one HTML page."""
    body = "\n".join(map(_block_to_html, blocks))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _block_to_markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text, code):
            return f"```\n{text}\n```" if code else _escape_markdown(text)
        case BulletList(items):
            return "\n".join(f"- {_escape_markdown(item)}" for item in items)
        case Table(headings, rows):
            lines = [f"| {' | '.join(map(_cell_to_markdown, row))} |" for row in (headings, *rows)]
            alignment = f"| {' | '.join([':--', *['--:'] * (len(headings) - 1)])} |"
            return "\n".join([lines[0], alignment, *lines[1:]])
        case Figure(svg, caption):
            return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _escape_markdown(text: str) -> str:
    for character in "\\`*_<[":
        text = text.replace(character, f"\\{character}")
    return text


def _cell_to_markdown(text: str) -> str:
    return _escape_markdown(text).replace("|", "\\|")


def _block_to_html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case Paragraph(text, code):
            tag = "pre" if code else "p"
            return f"<{tag}>{escape(text)}</{tag}>"
        case BulletList(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case Table(headings, rows):
            head = "".join(f"<th>{escape(cell)}</th>" for cell in headings)
            body = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
            return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"
        case Figure(svg, caption):
            return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
