"""From text to search terms: cleaning, splitting of identifiers, stop words, stems.

Both sides of lexical search (documents and questions) go through `terms`. Avoid scoring here.
"""

import hashlib
import importlib
import re
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK_TARGET = re.compile(r"\]\([^)\s]*\)")
_URL = re.compile(r"https?://\S+")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_WORD = re.compile(r"\w+(?:[-_./]\w+)*")
_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_]+")
_CODE = re.compile(r"[A-Za-z]{1,2}\d+")  # error and model codes: E101, HX500

_STOP_WORDS = (
    "a an and are as at be been but by can did do does for from had has have how i if in into is it its "
    "may me my no not of on or our should so such than that the their them then there these they this "
    "those to was we were what when where which while who why will with would you your"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

# The library has no type stubs.
_snowball: Any = importlib.import_module("snowballstemmer")
_stemmer = _snowball.stemmer("english")


def searchable(markdown: str) -> str:
    """The text without comments, link targets, URLs and HTML tags, which only add noise to search."""
    text = _COMMENT.sub(" ", markdown)
    text = _LINK_TARGET.sub("]", text)
    return _TAG.sub(" ", _URL.sub(" ", text))


def terms(text: str) -> list[str]:
    """Search terms in order of appearance, repeats kept.

    An identifier gives its parts and itself, so that `KubePodCrashLooping` is found by
    "pod crash looping" and by its own name; codes such as `E101` stay whole.

    >>> terms("Replace the spindle bearings")
    ['replac', 'spindl', 'bear']
    >>> terms("KubePodCrash E101")
    ['kube', 'pod', 'crash', 'kubepodcrash', 'e101']
    """
    found: list[str] = []
    for match in _WORD.finditer(text):
        found.extend(_word_terms(match.group()))
    return found


@lru_cache(maxsize=200_000)
def _word_terms(word: str) -> tuple[str, ...]:
    parts: list[str] = []
    for piece in re.split(r"[-_./]", word):
        parts.extend([piece] if _CODE.fullmatch(piece) else _PART.findall(piece))
    stems = [_stem(part.lower()) for part in parts if part.lower() not in STOP_WORDS]
    if len(parts) > 1:
        stems.append(word.lower())
    return tuple(stems)


@lru_cache(maxsize=200_000)
def _stem(word: str) -> str:
    return word if not word.isalpha() else str(_stemmer.stemWord(word))


def term_keys(text: str) -> NDArray[np.uint32]:
    """Ids of `terms(text)`, in order, without making the terms again for a word that was seen before."""
    found: list[int] = []
    for match in _WORD.finditer(text):
        found.extend(_word_keys(match.group()))
    return np.array(found, dtype=np.uint32)


@lru_cache(maxsize=200_000)
def _word_keys(word: str) -> tuple[int, ...]:
    return tuple(term_id(term) for term in _word_terms(word))


@lru_cache(maxsize=200_000)
def term_id(term: str) -> int:
    """A stable 32-bit id, the key of the term in inverted lists.

    With 20,000 distinct terms about 0.05 pairs collide.
    """
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "big")
