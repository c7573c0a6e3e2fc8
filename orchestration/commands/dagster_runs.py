"""Start a Dagster run over GraphQL and follow it, as the web UI does.

Add a query here when a command needs it. Avoid importing dagster: that alone costs a second.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

LOCATION = "orchestration"
REPOSITORY = "__repository__"

_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
    ... on PipelineNotFoundError { message }
    ... on InvalidSubsetError { message }
    ... on UnauthorizedError { message }
  }
}
"""
_EVENTS = """
query Events($runId: ID!, $cursor: String) {
  runOrError(runId: $runId) { ... on Run { status } }
  logsForRun(runId: $runId, afterCursor: $cursor, limit: 1000) {
    ... on EventConnection {
      cursor
      hasMore
      events {
        __typename
        ... on MessageEvent { timestamp message level stepKey }
        ... on MaterializationEvent { assetKey { path } }
        ... on AssetCheckEvaluationEvent {
          evaluation { success severity checkName assetKey { path } }
        }
        ... on ExecutionStepFailureEvent { error { message cause { message } } }
        ... on RunFailureEvent { error { message cause { message } } }
      }
    }
  }
}
"""
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class DagsterRunError(RuntimeError):
    """A run could not be started or followed; the message names the job and the address."""


@dataclass(frozen=True)
class RunEvent:
    """One event of a run that a person follows.

    Attributes:
        kind: `materialization`, `check` or `failure`.
        key: Asset key joined by `/`; the step's key for a failure without an asset.
        at: Seconds since the epoch.
        passed: For checks, whether it passed; True for materializations; False for failures.
        message: Name of the check, or text of the failure.
    """

    kind: str
    key: str
    at: float
    passed: bool
    message: str


class DagsterRuns:
    """Launches jobs of the code location on a Dagster webserver and follows their events."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout_s)
        self._url = url

    def launch(self, job: str, tags: dict[str, str] | None = None, assets: list[str] | None = None) -> str:
        """Start a job, or some assets of it, and return the run's id.

        Args:
            job: Name of the job.
            tags: Tags of the run.
            assets: Asset keys (`marts/fact_sensor_readings`) to restrict the run to.

        Raises:
            DagsterRunError: The webserver refused the run; the message is Dagster's own.
        """
        selector: dict[str, Any] = {
            "repositoryLocationName": LOCATION,
            "repositoryName": REPOSITORY,
            "jobName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": key.split("/")} for key in assets]
        metadata = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
        params = {"selector": selector, "runConfigData": {}, "executionMetadata": metadata}
        result = self._query(_LAUNCH, {"params": params})["launchRun"]
        if result["__typename"] != "LaunchRunSuccess":
            reason = result.get("message") or result.get("errors") or result["__typename"]
            raise DagsterRunError(f"{self._url} did not start job '{job}': {reason}")
        return str(result["run"]["runId"])

    def follow(self, run_id: str, timeout_s: float = 1800.0) -> Iterator[RunEvent]:
        """Yield the run's materializations, checks and failures until it ends well.

        Raises:
            DagsterRunError: The run failed, was cancelled, or did not end in time.
        """
        cursor: str | None = None
        last_failure = ""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            data = self._query(_EVENTS, {"runId": run_id, "cursor": cursor})
            page = data["logsForRun"]
            for raw in page.get("events", []):
                event = _run_event(raw)
                if event is not None:
                    last_failure = event.message if event.kind == "failure" else last_failure
                    yield event
            cursor = page.get("cursor", cursor)
            status = data["runOrError"].get("status")
            if status in _ENDED and not page.get("hasMore"):
                if status != "SUCCESS":
                    raise DagsterRunError(
                        f"Run {run_id} ended with {status}: {_first_lines(last_failure)}\n"
                        f"See {self._url}/runs/{run_id}"
                    )
                return
            time.sleep(0.3)
        raise DagsterRunError(f"Run {run_id} did not end within {timeout_s:.0f} s: {self._url}/runs/{run_id}")

    def _query(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        try:
            response = self._client.post("/graphql", json={"query": query, "variables": variables})
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise DagsterRunError(
                f"No answer from Dagster at {self._url}: {error}. Is it up? Try `opsgraph status`."
            ) from error
        body = response.json()
        if body.get("errors"):
            raise DagsterRunError(f"Dagster at {self._url} refused the query: {body['errors'][0]['message']}")
        return dict(body["data"])


def _first_lines(text: str, lines: int = 8) -> str:
    kept = [line for line in text.splitlines() if line.strip()]
    return "\n".join(kept[:lines]) + ("\n…" if len(kept) > lines else "")


def _run_event(raw: dict[str, Any]) -> RunEvent | None:
    at = float(raw.get("timestamp") or 0) / 1000
    match raw["__typename"]:
        case "MaterializationEvent" if raw.get("assetKey"):
            return RunEvent("materialization", "/".join(raw["assetKey"]["path"]), at, True, "")
        case "AssetCheckEvaluationEvent":
            found = raw["evaluation"]
            return RunEvent(
                "check", "/".join(found["assetKey"]["path"]), at, bool(found["success"]), found["checkName"]
            )
        case "ExecutionStepFailureEvent" | "RunFailureEvent":
            error = raw.get("error") or {}
            cause = error.get("cause") or {}
            message = (cause.get("message") or error.get("message") or raw.get("message") or "").strip()
            return RunEvent("failure", raw.get("stepKey") or "run", at, False, message)
        case _:
            return None
