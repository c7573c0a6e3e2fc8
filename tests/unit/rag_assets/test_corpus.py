"""The written corpus: complete, consistent, free of copies, and true where it quotes counts of real data."""

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import frontmatter
import pytest
from typer.core import TyperGroup
from typer.main import get_command

from orchestration.cli import app
from orchestration.ingest.simulators.fleet import COMPONENTS, FLEET, METRICS
from rag_assets.documents import Document, read_folder
from rag_assets.freshness import not_current

ROOT = Path(__file__).parents[3]
CORPUS = ROOT / "rag_assets" / "corpus"
GOLDEN = ROOT / "tests" / "evals" / "golden" / "questions.jsonl"

RUNBOOK_SECTIONS = ("Meaning", "Impact", "Diagnosis", "Mitigation|Procedure", "Verification", "Escalation")
SECTIONS = {
    "manual": ("Description", "Operating limits", "Sensors", "Maintenance intervals"),
    "runbook": RUNBOOK_SECTIONS,
    "service": RUNBOOK_SECTIONS,
    "component": (
        "Symptoms", "Causes", "Replacement procedure", "Parts and tools", "Time and crew", "Verification",
    ),
    "sensor": ("What it measures", "How it fails", "Checks", "After a repair"),
}  # fmt: skip
MODELS = {
    "demo-plant": {machine.model.name for machine in FLEET},
    "azure-pdm": {"model1", "model2", "model3", "model4"},
}
SERVICES = (
    "kafka-consumer-lag", "dead-letters", "postgres-down", "mlflow-unreachable", "dagster-run-failures",
    "log-error-spike", "latency-degradation", "security-brute-force", "security-sql-injection",
    "security-xss", "resource-exhaustion", "service-outage", "data-anomaly",
)  # fmt: skip


@cache
def documents() -> tuple[Document, ...]:
    """All documents of the corpus."""
    return read_folder(CORPUS).documents


@cache
def front_matter(path: str) -> dict[str, Any]:
    """Front matter of a document, as written."""
    return dict(frontmatter.load(str(CORPUS / path)).metadata)


def current(tenant_id: str) -> dict[str, Document]:
    """Current edition of each document of a tenant once all of them are in force."""
    own = [document for document in documents() if document.tenant_id == tenant_id]
    out = not_current(own, max(document.effective_on for document in own if document.effective_on))
    return {document.document_id: document for document in own if document.key not in out}


def each_document() -> Iterator[Any]:
    """Every document as a test parameter, named by its path."""
    return (pytest.param(document, id=document.path) for document in documents())


def test_every_file_is_read() -> None:
    """Forbids a file that the reader would silently leave out of every index."""
    files = {path.relative_to(CORPUS).as_posix() for path in CORPUS.rglob("*") if path.is_file()}

    collection = read_folder(CORPUS)

    assert collection.broken == ()
    assert {document.path for document in collection.documents} == files


@pytest.mark.parametrize("document", each_document())
def test_front_matter_is_complete(document: Document) -> None:
    """Forbids documents that freshness, tenant filter or applicability could not judge."""
    metadata = front_matter(document.path)

    assert document.tenant_id in MODELS
    assert metadata["kind"] == document.path.split("/")[0]
    assert set(document.machine_models) <= MODELS[document.tenant_id]
    assert document.effective_on is not None
    assert document.owner
    assert document.language == "en"
    assert metadata["tags"]
    assert {"firmware", "supersedes", "version"} <= metadata.keys()


@pytest.mark.parametrize("document", each_document())
def test_sections_and_length(document: Document) -> None:
    """Forbids a runbook without its Verification or Escalation, and documents too thin or too long to use."""
    headings = set(re.findall(r"^## (.+)$", document.content, re.MULTILINE))
    kind = front_matter(document.path)["kind"]

    missing = [each for each in SECTIONS[kind] if not headings & set(each.split("|"))]

    assert not missing
    assert document.content.startswith(f"# {document.title}\n")
    assert 1_200 <= len(document.content) <= 5_000
    if kind in {"runbook", "service", "component"}:
        assert re.search(r"^3\. ", document.content, re.MULTILINE), "no numbered steps"


def test_superseded_editions_exist_and_are_older() -> None:
    """Forbids a `supersedes` that points at nothing or at a younger text: the old number would win."""
    by_key = {(document.tenant_id, document.key): document for document in documents()}
    pairs = [
        (document, by_key[document.tenant_id, target])
        for document in documents()
        for target in document.supersedes
    ]

    assert len(pairs) >= 3
    for newer, older in pairs:
        assert newer.effective_on and older.effective_on
        assert newer.effective_on > older.effective_on
    # Each edition that is out is one that a newer edition names: nothing drops out by accident.
    all_current = {document.key for tenant_id in MODELS for document in current(tenant_id).values()}
    assert {document.key for document in documents()} - all_current == {older.key for _, older in pairs}


def test_the_plant_is_covered() -> None:
    """Forbids an error code, component, model or metric of the plant that the copilot can't explain."""
    plant = current("demo-plant")
    codes = {code for machine in FLEET for codes in machine.model.error_codes.values() for code in codes}
    of_kind: dict[str, list[Document]] = {}
    for document in plant.values():
        of_kind.setdefault(front_matter(document.path)["kind"], []).append(document)

    # E502 is raised by sensor faults, not by a component.
    for code in codes | {"E502"}:
        assert any(document.document_id.startswith(code.lower()) for document in of_kind["runbook"]), code
    for component in COMPONENTS:
        assert component.value.replace("_", "-") in plant, component
    for model in MODELS["demo-plant"]:
        assert any(document.machine_models == (model,) for document in of_kind["manual"]), model
    for metric in METRICS:
        assert any(metric in front_matter(document.path)["tags"] for document in of_kind["sensor"]), metric
    for service in SERVICES:
        assert service in plant, service
    azure = {f"azure-pdm-{name}" for name in ("models-overview", *(f"error{n}" for n in range(1, 6)))}
    assert azure | {f"azure-pdm-comp{n}" for n in range(1, 5)} <= current("azure-pdm").keys()


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """Runs of words."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def test_no_two_documents_are_near_copies() -> None:
    """Forbids padding by copies, which would fill an answer's sources with one text under five names."""
    seen = {document.key: shingles(document.content) for document in documents()}
    successors = {(target, document.key) for document in documents() for target in document.supersedes}

    for (one, left), (other, right) in combinations(seen.items(), 2):
        if (one, other) not in successors and (other, one) not in successors:
            # Queries and table heads repeat; two different documents share less than a tenth.
            assert len(left & right) / len(left | right) < 0.10, (one, other)


def test_commands_in_documents_exist() -> None:
    """Forbids a runbook that tells the person on call to type a verb that is not there."""
    root = cast(TyperGroup, get_command(app))
    found = 0
    for document in documents():
        # At the start of a line of a block, or in backticks; prose about opsgraph is not a command.
        for words in re.findall(r"(?:^|`)opsgraph ([a-z][a-z -]*)", document.content, re.MULTILINE):
            verb, *rest = words.split()
            assert verb in root.commands, (document.path, words)
            group = root.commands[verb]
            if isinstance(group, TyperGroup):
                assert rest[0] in group.commands, (document.path, words)
            found += 1
    assert found >= 10


def golden() -> list[dict[str, Any]]:
    """The golden questions."""
    return [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


def test_golden_questions_are_enough_and_well_formed() -> None:
    """Forbids an evaluation that forgot to ask what must be refused."""
    questions = golden()
    kinds = Counter(question["kind"] for question in questions)

    assert len(questions) >= 60
    assert len({question["question_id"] for question in questions}) == len(questions)
    assert len({question["question"].casefold() for question in questions}) == len(questions)
    assert kinds["no_answer"] >= 8
    assert kinds["wrong_tenant"] >= 5
    assert set(kinds) == {"lookup", "symptom", "procedure", "superseded", "no_answer", "wrong_tenant"}
    for question in questions:
        assert bool(question["relevant"]) == (question["kind"] not in {"no_answer", "wrong_tenant"})


@pytest.mark.parametrize("question", [pytest.param(row, id=row["question_id"]) for row in golden()])
def test_golden_answers_stand_in_the_current_documents(question: dict[str, Any]) -> None:
    """Forbids expectations that no right answer could meet, and questions that only repeat a title."""
    library = current(question["tenant_id"])
    keys = {document.key for document in library.values()}
    relevant = [library[document_id] for document_id in question["relevant"]]
    texts = [" ".join(document.content.split()).casefold() for document in relevant]

    for phrase in question.get("must_contain", []):
        assert any(phrase.casefold() in text for text in texts), phrase
    for phrase in question.get("must_not_contain", []):
        assert not any(phrase.casefold() in text for text in texts), phrase
        others = [document for document in documents() if document.key not in keys]
        assert any(phrase.casefold() in " ".join(each.content.split()).casefold() for each in others), phrase
    titles = {document.title.casefold() for document in documents()}
    assert question["question"].casefold() not in titles


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """Rows of one of the source's files."""
    with gzip.open(folder / name, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.data
def test_counts_of_the_azure_documents_are_true(azure_pdm_dir: Path) -> None:
    """Forbids runbooks that invent which error announces which component."""
    end = datetime(2015, 4, 1, 6)  # exclusive: the last replayed hour is 05:00
    errors = [
        (row["machineID"], datetime.fromisoformat(row["datetime"]), row["errorID"])
        for row in rows(azure_pdm_dir, "PdM_errors.csv.gz")
        if datetime.fromisoformat(row["datetime"]) < end
    ]
    failures = [
        (row["machineID"], datetime.fromisoformat(row["datetime"]), row["failure"])
        for row in rows(azure_pdm_dir, "PdM_failures.csv.gz")
        if datetime.fromisoformat(row["datetime"]) < end
    ]

    def follows(failure: tuple[str, datetime, str], error: tuple[str, datetime, str]) -> bool:
        lead = failure[1] - error[1]
        return failure[0] == error[0] and timedelta(0) <= lead <= timedelta(hours=24)

    checked = 0
    for document in current("azure-pdm").values():
        for component, error, part, whole in re.findall(
            r"\| (comp\d) failures with an (error\d) in the 24 hours before \| (\d+) of (\d+) \|",
            document.content,
        ):
            own = [failure for failure in failures if failure[2] == component]
            hit = [f for f in own if any(e[2] == error and follows(f, e) for e in errors)]
            assert (len(hit), len(own)) == (int(part), int(whole)), (document.path, component, error)
            checked += 1
        for error, component, part, whole in re.findall(
            r"\| (error\d) followed within 24 hours by (?:a |any )(comp\d )?failure \| (\d+) of (\d+) \|",
            document.content,
        ):
            own = [each for each in errors if each[2] == error]
            hit = [
                e for e in own
                if any((not component or f[2] == component.strip()) and follows(f, e) for f in failures)
            ]  # fmt: skip
            assert (len(hit), len(own)) == (int(part), int(whole)), (document.path, error, component)
            checked += 1
    # Five error documents, each with one row per component it is about and two rows forward.
    assert checked == 16
