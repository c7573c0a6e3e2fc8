"""Templates: the same statement gets the same id, ids survive a restart, a bomb stays bounded."""

import polars as pl
import pytest

from orchestration.ingest.logs import templates
from orchestration.ingest.logs.lines import with_statements
from orchestration.ingest.logs.templates import OVERFLOW, TemplateMiner, masked_text, parameters


def named(miner: TemplateMiner, *messages: str) -> list[str | None]:
    """Statements of some lines."""
    return miner.assign(with_statements(pl.DataFrame({"message": list(messages)})))["statement"].to_list()


def test_parameters_do_not_make_templates() -> None:
    """Forbids a template per request, address or number."""
    found = named(
        TemplateMiner(),
        "request 12 from 10.0.0.7 took 33 ms", "request 990 from 10.2.3.4:80 took 1.5 ms",
        "user 6f1c9a52-0e21-4a5e-9a53-2f3c1c7d9b10 logged in",
    )  # fmt: skip

    assert found[0] == found[1] != found[2]


def test_a_call_site_names_the_statement() -> None:
    """Forbids mining where the line says itself which statement it is."""
    assert named(TemplateMiner(), "16:42:22 INFO  t.s.TravelServiceImpl#532 route 7") == [
        "t.s.TravelServiceImpl#532"
    ]


def test_ids_survive_a_restart() -> None:
    """Forbids ids that change with the process: histories would see every statement as new."""
    first = TemplateMiner()
    before = named(first, "disk sda at 70", "worker 3 restarted after fatal signal", "disk sdb at 71")

    second = TemplateMiner(first.templates)

    assert named(second, "worker 9 restarted after fatal signal", "disk sdc at 99") == [before[1], before[0]]
    assert second.version == first.version


def test_a_template_bomb_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbids memory that grows with every text that somebody makes up."""
    monkeypatch.setattr(templates, "MOST_TEMPLATES", 20)
    miner = TemplateMiner()
    words = [
        f"{chr(97 + n % 26)}{chr(97 + n // 26)}x {'q' * (n % 7 + 1)} {chr(97 + n % 26) * 3}"
        for n in range(500)
    ]

    found = named(miner, *words)

    assert len(miner.templates) == 20
    assert found[-1] == OVERFLOW
    assert miner.overflowed > 0


def test_parameters_are_kept_for_the_answer() -> None:
    """Forbids templates that forget what stood in the line."""
    assert parameters("login failed for user <*> from <IP>", "login failed for user admin from 10.0.0.7") == (
        "admin",
        "10.0.0.7",
    )
    assert parameters("login failed for user <*>", "disk full") == ()


def test_a_line_of_a_mebibyte_is_cut_before_it_is_read() -> None:
    """Forbids a regular expression over a mebibyte."""
    text = masked_text(pl.Series(["x" * 1_048_576]))[0]

    assert len(text) == templates.MOST_CHARACTERS
