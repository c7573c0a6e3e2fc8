"""The drop folder in Dagster: a sensor that sees new files, and the job that sends them to their topics.

Add another pull source here when it needs a schedule. Avoid reading files: `ingest.intake` does it.
"""

from hashlib import sha256

import dagster as dg

from orchestration.resources.drop_folder import DropFolderResource
from orchestration.resources.kafka import KafkaResource
from orchestration.resources.postgres import PostgresResource


@dg.op(description="Send every new file of the drop folder to its topic; bad rows become dead letters.")
def send_files(
    context: dg.OpExecutionContext,
    drop_folder: DropFolderResource,
    postgres: PostgresResource,
    kafka: KafkaResource,
) -> None:
    """Nothing to do where no folder is set."""
    from orchestration.ingest.contracts import load_contracts
    from orchestration.ingest.intake.drop_folder import take_files

    folder = drop_folder.folder()
    if folder is None:
        context.log.info("no drop folder is set (OPSGRAPH_DROP_FOLDER)")
        return
    with postgres.connect() as connection:
        connection.autocommit = True  # a file counts as taken once its rows are in Kafka, whatever follows
        outcomes = take_files(folder, connection, kafka.bootstrap_servers, load_contracts())
    sent = sum(item.intake.sent for item in outcomes if item.intake)
    refused = sum(item.intake.refused for item in outcomes if item.intake)
    problems = [f"{item.path}: {item.problem}" for item in outcomes if item.problem]
    context.add_output_metadata({"rows_sent": sent, "rows_refused": refused, "problems": problems})


@dg.job(description="Files of the drop folder into the topics.")
def take_dropped_files() -> None:
    """Set off by `dropped_files`, or by hand."""
    send_files()


@dg.sensor(
    job=take_dropped_files,
    name="dropped_files",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests a run when the list of files in the drop folder has changed.",
)
def dropped_files(
    context: dg.SensorEvaluationContext, drop_folder: DropFolderResource
) -> dg.SensorResult | dg.SkipReason:
    """The cursor and run key are the digest of the listing: the same files are asked for once."""
    folder = drop_folder.folder()
    if folder is None:
        return dg.SkipReason("no drop folder is set (OPSGRAPH_DROP_FOLDER)")
    evidence = sha256("\n".join(folder.fingerprint()).encode()).hexdigest()
    if evidence == context.cursor:
        return dg.SkipReason("no new file")
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=evidence)], cursor=evidence)
