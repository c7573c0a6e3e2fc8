"""The parts of a document that search weighs differently: title, file name, labels, headings, lead, body.

Avoid scoring here; the same parts feed BM25F and the title and lead embeddings.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from rag_assets.analysis import searchable, terms

LEAD_CHARACTERS = 600
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
_LEAD_HEADING = re.compile(
    r"^#{1,6}\s+(?:meaning|summary|overview|description|symptoms?|introduction)\b.*$",
    re.MULTILINE | re.IGNORECASE,
)
_CASE_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_-]+")


@dataclass(frozen=True)
class DocumentFields:
    """One document, split into what search weighs differently (plain text)."""

    title: str
    file_name: str
    labels: str
    headings: str
    lead: str
    body: str

    def terms(self) -> dict[str, list[str]]:
        """Search terms by field."""
        return {name: terms(text) for name, text in vars(self).items()}


def document_fields(title: str, path: str, labels: Sequence[str], content: str) -> DocumentFields:
    """Split a document.

    Args:
        title: Its title.
        path: Its relative path.
        labels: Tags and machine models of its front matter.
        content: Markdown without front matter.
    """
    text = searchable(content)
    return DocumentFields(
        title=title,
        file_name=PurePosixPath(path).stem,
        labels=" ".join(labels),
        headings="\n".join(_HEADING.findall(text)),
        lead=lead(text),
        body=text,
    )


def lead(text: str) -> str:
    """What the document is about: the start of its Meaning or Summary, else of its text."""
    match = _LEAD_HEADING.search(text)
    start = text[match.end() :] if match else _HEADING.sub("", text)
    following = _HEADING.search(start) if match else None
    if following:
        start = start[: following.start()]
    return " ".join(start.split())[:LEAD_CHARACTERS]


def has_headings(content: str) -> bool:
    """Whether a text has sections at all."""
    return _HEADING.search(content) is not None


def spoken(title: str) -> str:
    """A title with its identifiers taken apart, for the embedder.

    >>> spoken("KubePodCrashLooping")
    'Kube Pod Crash Looping'
    """
    return " ".join(_CASE_BREAK.sub(" ", title).split())


def passage_text(title: str, text: str) -> str:
    """What is embedded for a passage: a passage often does not repeat what it is about.

    The Markdown as written: without its URLs and tags the runbook benchmark loses 0.008 of nDCG@10.
    """
    return f"{title}\n{text}"
