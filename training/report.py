"""A document of headings, paragraphs, tables and figures, and its two forms: Markdown, and HTML in one file.

It knows no models and no numbers.
"""

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
    """A heading below the title, which is of level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """Plain words; `fixed` for what is code."""

    text: str
    fixed: bool = False


@dataclass(frozen=True)
class Listing:
    """Short points."""

    points: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG, with what it shows in words."""

    svg: str
    caption: str


Block = Heading | Paragraph | Listing | Table | Figure


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """The document as CommonMark with tables; figures stand in it as SVG."""
    return "\n\n".join([f"# {title}", *map(_marked, blocks)]) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """The document as one HTML page."""
    body = "\n".join(map(_tagged, blocks))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def _marked(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Listing):
        return "\n".join(f"- {_plain(point)}" for point in block.points)
    if isinstance(block, Table):
        rule = [":--", *["--:"] * (len(block.headings) - 1)]
        return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (block.headings, rule, *block.rows))
    if isinstance(block, Figure):
        return f"<figure>{block.svg}<figcaption>{escape(block.caption)}</figcaption></figure>"
    return f"```\n{block.text}\n```" if block.fixed else _plain(block.text)


def _plain(text: str) -> str:
    """Words that must not be read as marks."""
    for mark in "\\`*_<[":
        text = text.replace(mark, f"\\{mark}")
    return text


def _cell(text: str) -> str:
    return text if set(text) <= set(":-") else _plain(text).replace("|", "\\|")


def _tagged(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Listing):
        return f"<ul>{''.join(f'<li>{escape(point)}</li>' for point in block.points)}</ul>"
    if isinstance(block, Table):
        rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in block.rows]
        head = "".join(f"<th>{escape(cell)}</th>" for cell in block.headings)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    if isinstance(block, Figure):
        return f"<figure>{block.svg}<figcaption>{escape(block.caption)}</figcaption></figure>"
    tag = "pre" if block.fixed else "p"
    return f"<{tag}>{escape(block.text)}</{tag}>"
