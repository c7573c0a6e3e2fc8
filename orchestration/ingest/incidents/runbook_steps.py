"""The steps and the read-only commands of a runbook, each with the place where it stands.

Add a form of runbook here when a plant writes theirs otherwise. Avoid choosing a runbook.
"""

import re
from dataclasses import dataclass

ACT_SECTIONS = ("mitigation", "procedure", "remediation", "fix", "recovery", "resolution")
LOOK_SECTIONS = ("diagnosis", "checks", "investigation", "symptoms")
STEPS_SHOWN = 6
COMMANDS_SHOWN = 4

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_NUMBERED = re.compile(r"^\s{0,3}(?:\d+[.)]|[-*])\s+(.+)$")
_FENCE = re.compile(r"^(```|~~~)\s*(\w*)\s*$")
_WRITES = re.compile(
    r"\b(insert|update|delete|truncate|drop|alter|create|grant|revoke|copy|call|do|merge|vacuum|reindex|"
    r"pg_terminate_backend|pg_cancel_backend|setval|nextval|lo_import|set|into)\b",
    re.IGNORECASE,
)
_LOOKS = (
    "df", "du", "free", "ps", "uptime", "top -b", "ss", "netstat", "dig", "ping -c", "curl -s", "curl -fsS",
    "journalctl", "tail", "head", "grep", "cat", "ls", "opsgraph status", "opsgraph incidents list",
    "opsgraph incidents show", "opsgraph eval", "kubectl get", "kubectl describe", "kubectl logs",
)  # fmt: skip


@dataclass(frozen=True)
class RunbookStep:
    """One thing to do.

    Attributes:
        text: The sentence as it stands in the runbook.
        section: Heading above it.
        number: Position within the section, from 1.
    """

    text: str
    section: str
    number: int


@dataclass(frozen=True)
class LookCommand:
    """A command that only looks.

    Attributes:
        language: `sql`, `promql` or `shell`.
        text: The command.
        section: Heading above it.
    """

    language: str
    text: str
    section: str


@dataclass(frozen=True)
class RunbookContent:
    """What a person does with a runbook: what to look at, what to do, how to know that it is over."""

    steps: tuple[RunbookStep, ...]
    commands: tuple[LookCommand, ...]
    verification: str


def read_runbook(markdown: str) -> RunbookContent:
    """Take steps, commands and verification out of a runbook.

    Args:
        markdown: The document without its front matter.

    Returns:
        At most six steps and four commands. A command that could change something is left out: nothing in an
        alert may do harm when it is pasted without reading.
    """
    steps: list[RunbookStep] = []
    commands: list[LookCommand] = []
    verification: list[str] = []
    for heading, lines in _sections(markdown):
        name = heading.lower()
        prose, blocks = _split(lines)
        if _is_one_of(name, ACT_SECTIONS):
            found = [match[1].strip() for line in prose if (match := _NUMBERED.match(line))]
            steps += [RunbookStep(text, heading, number) for number, text in enumerate(found, start=1)]
        if _is_one_of(name, (*LOOK_SECTIONS, *ACT_SECTIONS)):
            commands += [
                LookCommand(language, text, heading)
                for marked, block in blocks
                for language, text in _looks(marked, block)
            ]
        if name.startswith("verification"):
            verification += [line.strip() for line in prose if line.strip()]
    return RunbookContent(
        tuple(steps[:STEPS_SHOWN]), tuple(commands[:COMMANDS_SHOWN]), " ".join(verification)
    )


def is_read_only(language: str, text: str) -> bool:
    """Whether a command can't change anything: a single query, or a shell command that only shows.

    >>> is_read_only("sql", "select 1"), is_read_only("sql", "select 1; drop table x")
    (True, False)
    >>> is_read_only("shell", "df -h"), is_read_only("shell", "cat x > y"), is_read_only("shell", "rm -r x")
    (True, False, False)
    """
    plain = text.strip()
    if language == "sql":
        query = re.sub(r"--[^\n]*|'(?:[^']|'')*'", " ", plain).strip().rstrip(";")
        return query.lower().startswith(("select", "with", "explain ")) and not (
            ";" in query or _WRITES.search(query)
        )
    if any(mark in plain for mark in (">", "$(", "`", ";", "&&", "||", " -delete", " -exec", "\n")):
        return False
    return all(
        any(
            part.strip() == look or part.strip().startswith(f"{look} ")
            for look in (*_LOOKS, "sort", "wc", "uniq")
        )
        for part in plain.split("|")
    )


def _looks(marked: str, block: str) -> list[tuple[str, str]]:
    if marked.lower() == "promql":
        return [("promql", block.strip())]
    if marked.lower() == "sql":
        return [("sql", block.strip())] if is_read_only("sql", block) else []
    lines = [line.strip().removeprefix("$ ") for line in block.splitlines()]
    return [
        ("shell", line) for line in lines if line and not line.startswith("#") and is_read_only("shell", line)
    ]


def _sections(markdown: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = [("", [])]
    in_block = False
    for line in markdown.splitlines():
        if _FENCE.match(line.strip()):
            in_block = not in_block
        heading = None if in_block else _HEADING.match(line)
        if heading:
            found.append((heading[2], []))
        else:
            found[-1][1].append(line)
    return found


def _split(lines: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    prose: list[str] = []
    blocks: list[tuple[str, str]] = []
    block: list[str] | None = None
    marked = ""
    for line in lines:
        fence = _FENCE.match(line.strip())
        if fence and block is None:
            block, marked = [], fence[2]
        elif fence and block is not None:
            blocks.append((marked, "\n".join(block)))
            block = None
        elif block is not None:
            block.append(line)
        else:
            prose.append(line)
    return prose, blocks


def _is_one_of(heading: str, names: tuple[str, ...]) -> bool:
    return any(name in heading for name in names)
