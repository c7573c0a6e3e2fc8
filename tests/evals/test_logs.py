"""Log detection on public sets: bars stand at what is promised, so that a loss fails."""

from orchestration.ingest.logs.nezha_evaluation import evaluate_nezha, evaluate_rule
from orchestration.ingest.logs.session_evaluation import evaluate_sessions, read_sessions
from orchestration.ingest.replay.nezha_files import read_nezha
from tests.conftest import real_data


def test_nezha_faults_are_found_and_named() -> None:
    """Forbids a detector that misses faults, cries wolf, names the wrong service or comes late."""
    day = read_nezha(sorted(real_data("nezha").iterdir())[0])

    result, rule = evaluate_nezha(day), evaluate_rule(day)

    assert result.recall >= 0.95
    assert result.precision >= 0.88
    assert result.localisation_top1 >= 0.86
    assert result.localisation_top3 >= 0.90
    assert result.median_delay_s <= 50
    assert result.localisation_top1 > 2 * rule.localisation_top1


def test_hdfs_sessions_are_judged_without_false_alarms() -> None:
    """Forbids sessions called anomalous that are not: F1 .65 at precision .98."""
    result = evaluate_sessions(read_sessions(real_data("hdfs_sessions")))

    assert result.precision >= 0.98
    assert result.f1 >= 0.65
