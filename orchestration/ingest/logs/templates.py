"""Mines templates: which lines are the same statement with other parameters.

Masking runs over whole columns; only texts that were never seen masked alike go to Drain, so that a line
costs a look-up. What was mined is a list of templates with a version, kept by the caller. Add a mask here
when a parameter takes templates apart. Avoid counting lines: windows do that.
"""

# drain3 has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

MASKS: tuple[tuple[str, str], ...] = (
    (r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", "<UUID>"),
    (r"\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d+)?\b", "<IP>"),
    (r"\b[\w.+-]+@[\w-]+\.[\w.]+\b", "<EMAIL>"),
    (r"\b0x[0-9a-fA-F]+\b", "<HEX>"),
    (r"blk_-?\d+", "<BLOCK>"),
    (r"\b\d+(?:[.,:]\d+)*\b", "<NUM>"),
    (r"\b[0-9a-f]{8,}\b", "<HEX>"),
    (r"[-+]?\d+(?:[.,:]\d+)*", "<NUM>"),
)
"""Pattern and name, applied in this order. Rust and Python read these patterns alike."""
MOST_CHARACTERS = 1_000
"""Of a line that are looked at: a statement shows in its first words, a 1 MiB line is not text."""
MOST_TEMPLATES = 5_000
"""Templates kept. Lines that fit none of them once it is reached are `OVERFLOW`: a bomb costs no memory."""
MOST_MINED = 1_000
"""New masked texts mined per batch; the rest of a bomb is `OVERFLOW` at once. A search among 5,000 templates
takes 2 ms, and usual traffic has some dozen new texts at its begin and none later."""
MOST_CACHED = 200_000
"""Masked texts whose template is remembered; then the memory is begun again. About 40 MB."""
OVERFLOW = "T0"
SIMILARITY, DEPTH = 0.5, 4


@dataclass(frozen=True)
class Template:
    """One template: its id (`T1` …), stable for good, and its text with `<*>` and masks for parameters."""

    template_id: str
    text: str


class TemplateMiner:
    """Finds the template of each line. Grows until `MOST_TEMPLATES`."""

    def __init__(self, known: Sequence[Template] = ()) -> None:
        """Start with templates that were mined before, in the order of their ids."""
        from drain3.drain import Drain

        self._drain = Drain(depth=DEPTH, sim_th=SIMILARITY, max_children=100)
        self._ids: dict[str, str] = {}
        self._numbers: dict[int, str] = {}
        for template in known:
            cluster, _ = self._drain.add_log_message(template.text)
            self._numbers.setdefault(cluster.cluster_id, template.template_id)
        self._next = 1 + max((int(t.template_id[1:]) for t in known), default=0)
        self._overflowed = 0

    @property
    def templates(self) -> tuple[Template, ...]:
        """What was mined so far, in the order of the ids."""
        found = [
            Template(self._numbers[cluster.cluster_id], cluster.get_template())
            for cluster in self._drain.clusters
            if cluster.cluster_id in self._numbers
        ]
        return tuple(sorted(found, key=lambda template: int(template.template_id[1:])))

    @property
    def version(self) -> str:
        """Digest of the templates: the same version reads the same lines alike."""
        text = "\n".join(f"{item.template_id} {item.text}" for item in self.templates)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def overflowed(self) -> int:
        """Distinct masked texts that found no room: a template explosion when it grows."""
        return self._overflowed

    def assign(self, lines: pl.DataFrame) -> pl.DataFrame:
        """Fill `statement` with the template's id where the line itself names no statement.

        Args:
            lines: With `message` and `statement`.
        """
        nameless = lines["statement"].is_null()
        if not nameless.any():
            return lines
        masked = masked_text(lines.select(pl.when(nameless).then("message"))["message"])
        distinct = masked.drop_nulls().unique(maintain_order=True)  # equal lines give equal templates
        if len(self._ids) > MOST_CACHED:
            self._ids.clear()
        texts: list[str] = distinct.to_list()
        unknown = [text for text in texts if text not in self._ids]
        for text in unknown[:MOST_MINED]:
            self._ids[text] = self._mine(text)
        self._overflowed += max(len(unknown) - MOST_MINED, 0)
        ids = masked.replace_strict(
            distinct, [self._ids.get(text, OVERFLOW) for text in texts], default=None, return_dtype=pl.String
        )
        return lines.with_columns(statement=pl.coalesce("statement", ids))

    def _mine(self, text: str) -> str:
        if len(self._numbers) >= MOST_TEMPLATES:
            cluster = self._drain.tree_search(self._drain.root_node, text.split())
            if cluster is None:
                self._overflowed += 1
                return OVERFLOW
            return self._numbers[cluster.cluster_id]
        cluster, _ = self._drain.add_log_message(text)
        if cluster.cluster_id not in self._numbers:
            self._numbers[cluster.cluster_id] = f"T{self._next}"
            self._next += 1
        return self._numbers[cluster.cluster_id]


def masked_text(messages: pl.Series) -> pl.Series:
    """Texts with parameters replaced by the names of their masks, cut at `MOST_CHARACTERS`."""
    text = pl.col("message").str.slice(0, MOST_CHARACTERS)
    for pattern, name in MASKS:
        text = text.str.replace_all(pattern, name)
    return messages.alias("message").to_frame().select(text)["message"]


def parameters(template: str, message: str) -> tuple[str, ...]:
    """What stands in a line where its template has a parameter.

    Returns:
        The parameters in order; empty when the line is not of this template.

    Example:
        >>> parameters("disk <*> at <NUM> percent", "disk sda1 at 93 percent")
        ('sda1', '93')
    """
    parts = re.split(r"(<\*>|<[A-Z]+>)", template)
    pattern = "".join(r"(\S*?)" if part.startswith("<") else re.escape(part) for part in parts)
    found = re.fullmatch(pattern.replace(r"\ ", r"\s+"), message.strip())
    return found.groups() if found else ()
