"""HTML to Markdown: headings, paragraphs, lists, tables and preformatted text; no navigation, no scripts.

Avoid styling: what search and citations need is the text in its order.
"""

# The library leaves its element types open.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString, PreformattedString
from bs4.exceptions import ParserRejectedMarkup

from rag_assets.formats.content import Content, UnreadableError
from rag_assets.formats.tables import markdown_table

_LEFT_OUT = (
    "head",
    "title",
    "script",
    "style",
    "nav",
    "footer",
    "noscript",
    "template",
    "svg",
    "form",
    "iframe",
)
_CONTAINERS = {"html", "body", "main", "article", "section", "div", "header", "details", "figure", "center"}
_METADATA = (
    "title",
    "tenant",
    "id",
    "version",
    "effective_date",
    "owner",
    "machine_models",
    "firmware",
    "kind",
    "supersedes",
    "tags",
    "language",
)


def read_html(raw: bytes) -> Content:
    """The text of a page, and its `<title>`, language and `<meta>` fields of our names.

    Raises:
        UnreadableError: The parser gives up on it.
    """
    try:
        page = BeautifulSoup(raw, "html.parser")
    except ParserRejectedMarkup as error:
        raise UnreadableError("not HTML that can be parsed: a `<!` in it starts nothing known") from error
    metadata: dict[str, str] = {}
    if page.title and page.title.string:
        metadata["title"] = page.title.string.strip()
    root = page.html
    if root and root.get("lang"):
        metadata["language"] = str(root["lang"])
    for name in _METADATA:
        field = page.find("meta", attrs={"name": name})
        if isinstance(field, Tag) and field.get("content"):
            metadata[name] = str(field["content"])
    for element in page.find_all(_LEFT_OUT):
        element.decompose()
    body = page.find("main") or page.body or page
    blocks = [block for block in _blocks(body) if block.strip()]
    return Content("\n\n".join(blocks), metadata)


def _blocks(parent: Tag) -> Iterator[str]:
    loose: list[str] = []
    for child in parent.children:
        if isinstance(child, PreformattedString):
            continue  # comments and declarations
        if isinstance(child, NavigableString) or (isinstance(child, Tag) and not _is_block(child)):
            loose.append(str(child) if isinstance(child, NavigableString) else _inline(child))
            continue
        if loose:
            yield " ".join("".join(loose).split())
            loose = []
        if isinstance(child, Tag):
            yield from _block(child)
    if loose:
        yield " ".join("".join(loose).split())


def _is_block(element: Tag) -> bool:
    return element.name in _CONTAINERS | {"p", "ul", "ol", "dl", "table", "pre", "blockquote", "hr"} or bool(
        re.fullmatch(r"h[1-6]", element.name)
    )


def _block(element: Tag) -> Iterator[str]:
    if re.fullmatch(r"h[1-6]", element.name):
        yield f"{'#' * int(element.name[1])} {_inline(element)}"
    elif element.name == "pre":
        yield f"```\n{element.get_text().strip(chr(10))}\n```"
    elif element.name == "table":
        rows = [row.find_all(["th", "td"]) for row in element.find_all("tr")]
        yield markdown_table([[_inline(cell) for cell in row] for row in rows])
    elif element.name in ("ul", "ol"):
        yield "\n".join(_items(element, 0))
    elif element.name == "hr":
        return
    else:
        yield from _blocks(element)


def _items(element: Tag, depth: int) -> Iterator[str]:
    for number, item in enumerate(element.find_all("li", recursive=False), start=1):
        nested = item.find_all(["ul", "ol"], recursive=False)
        commands = item.find_all("pre", recursive=False)
        texts = [
            _inline(child) if isinstance(child, Tag) else str(child)
            for child in item.children
            if child not in nested and child not in commands
        ]
        mark = f"{number}." if element.name == "ol" else "-"
        indent = "   " * depth
        yield f"{indent}{mark} {' '.join(' '.join(texts).split())}"
        for command in commands:
            lines = command.get_text().strip("\n").splitlines()
            yield "\n".join(f"{indent}   {line}" for line in ("```", *lines, "```"))
        for inner in nested:
            yield from _items(inner, depth + 1)


def _inline(element: Tag) -> str:
    for pause in element.find_all("br"):
        pause.replace_with(" ")
    for code in element.find_all("code"):
        code.replace_with(f"`{code.get_text()}`")
    text = " ".join(element.get_text().split())
    return f"`{text}`" if element.name == "code" else text
