"""The copilot as assets: the question table, and the answers to it.

Add an asset when another set of questions is answered. Avoid logic: `rag_assets.copilot` does the work.
"""

from contextlib import closing

import dagster as dg
from pydantic import Field

from orchestration.automation import WHEN_UPSTREAM_IS_SOUND
from orchestration.environment import Environment
from orchestration.resources.postgres import PostgresResource
from orchestration.resources.vector_store import VectorStoreResource


@dg.asset(
    key=["copilot", "questions"],
    group_name="copilot",
    owners=["team:reliability-engineering"],
    kinds={"postgres"},
)
def copilot_questions(postgres: PostgresResource) -> dg.MaterializeResult:
    """The question table; a tenant without questions gets three."""
    from rag_assets.copilot.question_table import active_questions, seed_questions

    with postgres.connect() as connection:
        added = seed_questions(connection)
        questions = active_questions(connection)
    return dg.MaterializeResult(metadata={"dagster/row_count": len(questions), "added": added})


class ReportPeriod(dg.Config):
    """What a report covers."""

    days: int = Field(default=7, ge=1, le=366, description="Length of the period, up to the plant's clock.")


@dg.asset(
    key=["copilot", "report"],
    deps=[
        ["marts", "mart_production_kpis"],
        ["marts", "mart_equipment_health"],
        ["marts", "fact_equipment_events"],
        ["prediction", "failure"],
    ],
    group_name="copilot",
    owners=["team:reliability-engineering"],
    kinds={"postgres", "html"},
)
def copilot_report(config: ReportPeriod, postgres: PostgresResource) -> dg.MaterializeResult:
    """The executive report of each tenant, as Markdown and as one HTML file with its plots."""
    from rag_assets.copilot.reporting import reports_of_all_tenants

    written = reports_of_all_tenants(postgres.url, config.days, Environment().state_dir / "reports")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(written),
            "files": [str(report.html_path) for report in written],
            "report": dg.MetadataValue.md("\n\n".join(report.markdown for report in written)),
        }
    )


@dg.asset(
    key=["copilot", "answers"],
    deps=[
        copilot_questions,
        ["knowledge", "index"],
        ["prediction", "failure"],
        ["marts", "mart_equipment_health"],
        ["marts", "fact_equipment_events"],
    ],
    group_name="copilot",
    owners=["team:reliability-engineering"],
    kinds={"postgres"},
    automation_condition=WHEN_UPSTREAM_IS_SOUND,
)
def copilot_answers(postgres: PostgresResource, vector_store: VectorStoreResource) -> dg.MaterializeResult:
    """Each active question answered with numbered citations, and kept with its receipt."""
    from rag_assets.copilot.question_table import active_questions, answer_questions, answers_as_markdown

    with postgres.connect() as connection:
        questions = active_questions(connection)
    with closing(vector_store.copilot(postgres.url)) as copilot:
        quality = answer_questions(copilot, questions)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": quality.question_count,
            "answers_with_citations_ratio": quality.answers_with_citations_ratio,
            "retrieval_empty_rate": quality.retrieval_empty_rate,
            "hallucination_flag_rate": quality.hallucination_flag_rate,
            "answers": dg.MetadataValue.md(answers_as_markdown(quality)),
        }
    )
