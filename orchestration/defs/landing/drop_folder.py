"""The drop folder in Dagster: a sensor that sees new files, and the job that sends them to their topics.

Add another pull source here when it needs a schedule. Avoid reading files: `ingest.intake` does it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import dagster as dg

from orchestration.defs.landing.asking import EVIDENCE_TAG, key_to_ask_again
from orchestration.defs.landing.assets import CONTRACTS
from orchestration.environment import Environment
from orchestration.ingest.contracts.schema_catalog import SchemaCatalog
from orchestration.resources.drop_folder import DropFolderResource
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.postgres import PostgresResource

if TYPE_CHECKING:
    from orchestration.ingest.intake.drop_folder import FileOutcome


@dg.op(description="Send every new file of the drop folder to its topic; bad rows become dead letters.")
def send_files(
    context: dg.OpExecutionContext,
    drop_folder: DropFolderResource,
    postgres: PostgresResource,
    kafka: KafkaResource,
) -> None:
    """Fails where a file waits for something that is not its fault; the others are sent before."""
    from orchestration.ingest.intake.drop_folder import take_files

    folder = drop_folder.folder()
    if folder is None:
        context.log.info("no drop folder is set (OPSGRAPH_DROP_FOLDER)")
        return
    with postgres.connect() as connection:
        connection.autocommit = True  # a file counts as taken once its rows are in Kafka, whatever follows
        schemas = SchemaCatalog(CONTRACTS, Environment().schema_registry_url)
        outcomes = take_files(folder, connection, kafka.bootstrap_servers, CONTRACTS, schemas)
    context.add_output_metadata(_metadata(outcomes))
    if waiting := [f"{item.path}: {item.problem}" for item in outcomes if item.is_waiting]:
        raise dg.Failure("; ".join(waiting))


def _metadata(outcomes: "Sequence[FileOutcome]") -> dict[str, Any]:
    return {
        "rows_sent": sum(item.intake.sent for item in outcomes if item.intake),
        "rows_refused": sum(item.intake.refused for item in outcomes if item.intake),
        "problems": [f"{item.path}: {item.problem}" for item in outcomes if item.problem],
    }


@dg.job(description="Files of the drop folder into the topics.", tags={"dagster/max_retries": "2"})
def take_dropped_files() -> None:
    """Set off by `dropped_files`, or by hand."""
    send_files()


@dg.sensor(
    job=take_dropped_files,
    name="dropped_files",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a run when the list of files in the drop folder has changed, and after a failure.",
)
def dropped_files(
    context: dg.SensorEvaluationContext, drop_folder: DropFolderResource
) -> dg.SensorResult | dg.SkipReason:
    """The cursor is the digest of the listing: the same files are asked for again after a failure alone."""
    folder = drop_folder.folder()
    if folder is None:
        return dg.SkipReason("no drop folder is set (OPSGRAPH_DROP_FOLDER)")
    evidence = sha256("\n".join(folder.fingerprint()).encode()).hexdigest()
    is_new = evidence != context.cursor
    run_key = evidence if is_new else key_to_ask_again(context.instance, take_dropped_files.name, evidence)
    if run_key is None:
        return dg.SkipReason("no new file")
    request = dg.RunRequest(run_key=run_key, tags={EVIDENCE_TAG: evidence})
    return dg.SensorResult(run_requests=[request], cursor=evidence)
