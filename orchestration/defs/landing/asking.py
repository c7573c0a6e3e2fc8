"""When a sensor asks again for a run that it asked for before: the evidence stands, and the run failed.

Add a reason to ask again here. Avoid what counts as evidence: each sensor says that itself.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

EVIDENCE_TAG = "evidence"
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
MOST_RUNS_SEEN = 100


def key_to_ask_again(
    instance: dg.DagsterInstance, job_name: str, evidence: str, now: datetime | None = None
) -> str | None:
    """Run key for another attempt at the same evidence; None where there is no reason for one yet.

    A run key counts for ever, so the number of failed attempts is part of it: each one is asked for once.
    Attempts are further apart each time, 1 min to 1 h. A run that a person cancelled is not asked for again.

    Args:
        instance: Dagster's instance.
        job_name: Job of the runs.
        evidence: Value of their tag `evidence`; runs that Dagster retries by itself carry it too.
        now: Instant that the pause is counted to; by default the present.
    """
    filters = dg.RunsFilter(job_name=job_name, tags={EVIDENCE_TAG: evidence})
    records = instance.get_run_records(filters, limit=MOST_RUNS_SEEN)
    if not records or any(item.dagster_run.status is not dg.DagsterRunStatus.FAILURE for item in records):
        return None
    failures = len(records)
    ended_at = datetime.fromtimestamp(max(item.end_time or 0.0 for item in records), UTC)
    pause = min(FIRST_PAUSE * 2 ** min(failures, 10), LONGEST_PAUSE)
    return f"{evidence}#{failures}" if (now or datetime.now(UTC)) >= ended_at + pause else None
