r"""How one value can stand in text and bytes: as it is, escaped by JSON (also twice), or with Avro's length.

Add an encoding here when personal values can reach the stores in it. Avoid asking stores: `erasure` does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from orchestration.ingest.contracts.avro_writer import write_long

SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
BACKSLASH = "\\"
WORD = "0-9A-Za-z"
ESCAPE_BEFORE = r"\\[bfnrt]|\\u[0-9A-Fa-f]{4}"
"""What ends in a letter or digit and is none: "by\nT-17" as JSON writes it."""


@dataclass(frozen=True)
class Spellings:
    """Patterns of one value: found as a word of its own, so T-17 is not found in T-170.

    Attributes:
        text: Pattern for text, in a syntax that Postgres and Rust's regex share.
        escaped: Pattern for what Postgres' `encode(…, 'escape')` makes of bytes.
        in_bytes: Compiled pattern for bytes.
    """

    text: str
    escaped: str
    in_bytes: "re.Pattern[bytes]"

    def is_in(self, parts: Iterable[bytes | None]) -> bool:
        """Whether one of the parts names the value."""
        return any(part and self.in_bytes.search(part) for part in parts)


def spellings(value: str) -> Spellings:
    r"""Patterns of a value.

    >>> found = spellings("Müller")
    >>> found.is_in([b'"M\\u00fcller"']), found.is_in(["Müllers".encode()])
    (True, False)
    """
    as_text = "".join(f"(?:{re.escape(letter)}|{_json(letter)})" for letter in value)
    as_escaped = "".join(f"(?:{_octal(letter.encode())}|{_json(letter, 2)})" for letter in value)
    as_bytes = "".join(
        f"(?:{re.escape(letter.encode().decode('latin-1'))}|{_json(letter)})" for letter in value
    )
    whole = value.encode()
    length = write_long(len(whole))
    # In front of a value among bytes everything is allowed: Avro writes a length there, and some lengths are
    # letters. Behind it too, where the length says that the value ends: the next field may begin with one.
    avro = re.escape(length + whole)
    avro_escaped = _octal(length) + "".join(_octal(letter.encode()) for letter in value)
    return Spellings(
        f"(?:^|[^{WORD}]|{ESCAPE_BEFORE}){as_text}(?:$|[^{WORD}])",
        f"{as_escaped}(?:$|[^{WORD}])|{avro_escaped}",
        re.compile(as_bytes.encode("latin-1") + rf"(?![{WORD}])".encode() + b"|" + avro),
    )


def _json(letter: str, backslashes: int = 1) -> str:
    """A letter as JSON may escape it, behind one backslash or, within JSON within JSON, more of them."""
    one = "\\\\" * backslashes  # a pattern of so many backslashes
    units = letter.encode("utf-16-be").hex()
    code = "".join(
        f"(?:{one})+u" + "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in units[start : start + 4])
        for start in range(0, len(units), 4)
    )
    short = SHORT_ESCAPES.get(letter)
    if short is None:
        return code
    return f"{code}|(?:{one})+{one if short == BACKSLASH else re.escape(short)}"


def _octal(part: bytes) -> str:
    """Pattern of bytes as Postgres escapes them: 0 and what is beyond ASCII in octal, backslashes twice."""
    written = "".join(
        rf"\{byte:03o}" if byte == 0 or byte > 0x7F else "\\\\" if byte == 0x5C else chr(byte)
        for byte in part
    )
    return re.escape(written)
