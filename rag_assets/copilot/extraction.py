"""Sentences and steps, word for word, from a document's Markdown.

Avoid rewording: what is extracted here is quoted under a citation.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rag_assets.analysis import searchable, terms

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_STEP = re.compile(r"^(?:\d+[.)]|[-*+])\s+(.*)$")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'`A-Z0-9])")
_ACTION_HEADING = re.compile(
    r"mitigat|procedure|replace|repair|resol|remed|what to do|steps|actions?\b|fix|recover|workaround",
    re.IGNORECASE,
)
_CHECK_HEADING = re.compile(r"diagnos|check|troubleshoot|investigat|verif", re.IGNORECASE)
_LEAD_HEADING = re.compile(r"meaning|summary|overview|description|symptom|introduction", re.IGNORECASE)
_ASIDE_HEADING = re.compile(r"escalat|remark|notes?\b|time and|read next", re.IGNORECASE)
_MINIMUM_CHARACTERS = 25  # shorter "sentences" are fragments of lists and labels


@dataclass(frozen=True)
class Section:
    """A heading and what stands directly below it."""

    heading: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Quote:
    """A sentence or step, and the section that it stands in."""

    text: str
    section: str


def sections(markdown: str) -> list[Section]:
    """Sections in order; text before the first heading has an empty heading."""
    found: list[tuple[str, list[str]]] = [("", [])]
    in_code = False
    for line in markdown.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
        heading = None if in_code else _HEADING.match(line)
        if heading:
            found.append((heading.group(2), []))
        else:
            found[-1][1].append(line)
    return [Section(heading, tuple(lines)) for heading, lines in found]


def steps(markdown: str, limit: int = 6) -> tuple[Quote, ...]:
    """What to do: the items of the first section that tells actions, else of one that tells checks."""
    for pattern in (_ACTION_HEADING, _CHECK_HEADING):
        for section in sections(markdown):
            if pattern.search(section.heading):
                items = tuple(Quote(text, section.heading) for text in _items(section.lines))
                if items:
                    return items[:limit]
    return ()


def best_sentences(
    markdown: str, query_terms: Sequence[str], weight: Callable[[str], float], limit: int = 2
) -> tuple[Quote, ...]:
    """The sentences that cover most of what was asked, in the order of the document.

    Args:
        markdown: The document.
        query_terms: Search terms of the question.
        weight: How much a term tells (its inverse document frequency).
        limit: Sentences to return.
    """
    wanted = set(query_terms)
    candidates = list(_sentences(markdown))
    scored: list[tuple[float, int]] = []
    for position, quote in enumerate(candidates):
        overlap = sum(weight(term) for term in wanted & set(terms(quote.text)))
        # The section that says what a thing means answers questions whose words it does not repeat.
        bonus = _LEAD_BONUS if _LEAD_HEADING.search(quote.section) else 0.0
        # Whom to call and how long it takes repeats the words of everything; it seldom is the answer.
        penalty = _LEAD_BONUS if _ASIDE_HEADING.search(quote.section) else 0.0
        scored.append((overlap + bonus - penalty, position))
    chosen = sorted(scored, key=lambda item: (-item[0], item[1]))[:limit]
    return tuple(candidates[position] for _, position in sorted(chosen, key=lambda item: item[1]))


_LEAD_BONUS = 2.0  # about the weight of one word that a tenth of the documents have


def section_of(passage: str, quote: str, default: str) -> str:
    """The last heading above a quote in a passage, else the passage's own section."""
    position = passage.find(quote)
    headings = [line for line in passage[: max(position, 0)].splitlines() if _HEADING.match(line)]
    return headings[-1].lstrip("#").strip() if headings else default


def _items(lines: Sequence[str]) -> Iterator[str]:
    """Top-level list items, with the lines that belong to them."""
    item: list[str] = []
    in_code = False
    for line in lines:
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
            continue
        if in_code:
            continue
        match = _STEP.match(line)
        if match:
            if item:
                yield " ".join(item)
            item = [match.group(1).strip()]
        elif item and line.strip() and line[0].isspace():
            item.append(line.strip())
        elif item and not line.strip():
            continue
        elif item:
            yield " ".join(item)
            item = []
    if item:
        yield " ".join(item)


def _sentences(markdown: str) -> Iterator[Quote]:
    for section in sections(markdown):
        for paragraph in _paragraphs(section.lines):
            for sentence in _SENTENCE.split(paragraph):
                text = sentence.strip()
                if len(text) >= _MINIMUM_CHARACTERS and searchable(text).strip():
                    yield Quote(text, section.heading)


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    """Prose paragraphs; tables, code and lists are left out."""
    current: list[str] = []
    in_code = False
    for line in (*lines, ""):
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
            continue
        is_prose = (
            bool(line.strip()) and not in_code and line.lstrip()[0] not in "|<>" and not _STEP.match(line)
        )
        if is_prose and not line[0].isspace():
            current.append(line.strip())
        elif current:
            yield " ".join(current)
            current = []
