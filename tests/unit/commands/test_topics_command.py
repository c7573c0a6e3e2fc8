"""What `opsgraph topics` says of a lander."""

import pytest

from orchestration.commands.topics import print_lander
from orchestration.ingest.sink_states import REFUSED_TOPICS, LanderState


def test_a_topic_that_is_left_out_is_said_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Forbids "all sinks take data" over a topic that nobody lands."""
    sinks = {"lake": {"is_open": False, "reason": "", "since": None, "failures": 0}}
    refused = {"raw_logs": {"reason": "its log was cut [see the ledger]", "since": "2026-01-05 06:00"}}

    print_lander(LanderState.of("a lander", 1.0, sinks))
    print_lander(LanderState.of("a lander", 1.0, {**sinks, REFUSED_TOPICS: refused}))

    well, left_out = capsys.readouterr().out.split("take data\n")
    assert "all sinks" in well
    assert "left out" in left_out
    assert "raw_logs left out since 2026-01-05 06:00: its log was cut [see the ledger]" in left_out
