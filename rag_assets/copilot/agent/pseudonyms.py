"""Reversible pseudonyms: names are replaced before any text leaves for a model, and put back after.

The table lives as long as one answer and never leaves the process. Avoid deciding what is asked.
"""

import re
from collections.abc import Iterable, Mapping

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+\w")
_PHONE = re.compile(r"(?<![\w.:-])\+\d[\d ()/-]{6,}\d")
_TOKEN = re.compile(r"\b(?:TENANT|MACHINE|NAME|PLANT|PERSON|CONTACT)_\d{2,}\b")
_OPEN_TAIL = re.compile(r"[A-Z]{1,8}_?\d*$")


class Pseudonyms:
    """Names of one answer and what stands for them.

    Args:
        names: Kind (`MACHINE`, `PLANT`, …) → the names of that kind.
    """

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._tokens: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        for kind, values in names.items():
            for value in sorted({value for value in values if value}, key=lambda item: (-len(item), item)):
                self._token(kind, value)
        self._pattern = self._compile()

    def hide(self, text: str) -> str:
        """The text with every name, mail address and telephone number replaced."""
        for kind, pattern in (("CONTACT", _EMAIL), ("CONTACT", _PHONE)):
            text = pattern.sub(lambda match, kind=kind: self._token(kind, match.group()), text)
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._tokens[match.group().lower()], text)

    def show(self, text: str) -> str:
        """The text with every pseudonym put back; one that was never given out stays."""
        return _TOKEN.sub(lambda match: self._names.get(match.group(), match.group()), text)

    def show_stream(self, pieces: Iterable[str]) -> Iterable[str]:
        """The same for text that comes in pieces: a pseudonym may be cut anywhere."""
        held = ""
        for piece in pieces:
            held += piece
            tail = _OPEN_TAIL.search(held)
            ready = held[: tail.start()] if tail else held
            held = held[len(ready) :]
            if ready:
                yield self.show(ready)
        if held:
            yield self.show(held)

    def _token(self, kind: str, value: str) -> str:
        known = self._tokens.get(value.lower())
        if known:
            return known
        self._counts[kind] = self._counts.get(kind, 0) + 1
        token = f"{kind}_{self._counts[kind]:02d}"
        self._tokens[value.lower()] = token
        self._names[token] = value
        return token

    def _compile(self) -> re.Pattern[str] | None:
        if not self._tokens:
            return None
        names = sorted(self._tokens, key=len, reverse=True)
        return re.compile(
            r"(?<![\w-])(?:" + "|".join(map(re.escape, names)) + r")(?![\w]|-\w)", re.IGNORECASE
        )
