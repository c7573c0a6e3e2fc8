"""The prompts, as versioned files: a changed text is a new file, so that a receipt names what was asked.

Avoid building prompts in code.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("prompts")


@dataclass(frozen=True)
class Prompt:
    """A prompt's text and its version: the file's name and the start of its digest."""

    text: str
    version: str


@cache
def read_prompt(name: str) -> Prompt:
    """The prompt of a file.

    Args:
        name: Without `.md`, for example `answer-1`.
    """
    text = (_FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()
    return Prompt(text, f"{name}+{hashlib.sha256(text.encode()).hexdigest()[:8]}")


PLAN = "plan-1"
ANSWER = "answer-1"
