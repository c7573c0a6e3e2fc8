"""Judged questions, and collections of documents with them: our own form, and that of BEIR.

Avoid judging here.
"""

import csv
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag_assets.documents import Document, read_folder

TENANT = "evaluated"
"""Owner of a collection that is only judged."""


@dataclass(frozen=True)
class JudgedQuestion:
    """A question and the documents that answer it.

    Attributes:
        relevant: Paths or ids of documents.
        family: Group that figures are also reported by.
        tenant_id: Whose documents; empty in collections without tenants.
        grades: How relevant, where a collection grades it; empty means 1 for each of `relevant`.
    """

    question: str
    relevant: frozenset[str]
    family: str = ""
    tenant_id: str = ""
    grades: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Collection:
    """Documents with questions.

    Attributes:
        documents: Owned by `TENANT`; `path`, or the id without one, is what questions call relevant.
        training: Questions to learn from; may be empty.
        test: Questions to judge on. A test question that shares a right document with a training
            question is judged by a ranker that saw neither.
    """

    documents: tuple[Document, ...]
    training: tuple[JudgedQuestion, ...]
    test: tuple[JudgedQuestion, ...]


def read_questions(path: Path) -> tuple[JudgedQuestion, ...]:
    """Read a JSON Lines file: `query` (or `question`), `relevant` (list), optionally `family`, `tenant_id`.

    Raises:
        ValueError: A line is not such an object; the message names it.
    """
    questions: list[JudgedQuestion] = []
    for number, row in _json_lines(path):
        try:
            relevant = frozenset(str(item) for item in row["relevant"])
            text = str(row.get("query") or row["question"])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f'{path}, line {number}: expected {{"query": …, "relevant": […]}}: {error!r}'
            ) from error
        questions.append(
            JudgedQuestion(text, relevant, str(row.get("family", "")), str(row.get("tenant_id", "")))
        )
    return tuple(questions)


def folder_collection(corpus: Path, train: Path | None, test: Path) -> Collection:
    """A folder of documents and files of questions whose `relevant` are paths below it.

    Raises:
        ValueError: There is no question, or none of the relevant documents is in the folder.
    """
    found = read_folder(corpus, TENANT)
    collection = Collection(
        documents=found.documents,
        training=read_questions(train) if train else (),
        test=read_questions(test),
    )
    return _checked(collection, str(corpus))


def beir_collection(folder: Path) -> Collection:
    """A collection in BEIR's form: `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`.

    Other files below `qrels` (`train.tsv`, `dev.tsv`) are questions to learn from.

    `qrels` may also be one file `qrels.tsv` (then all of it is the test).

    Raises:
        ValueError: A file is missing or not of that form.
    """
    documents = tuple(_beir_document(path, row) for path, row in _beir_rows(folder / "corpus.jsonl"))
    texts = {name: str(row.get("text") or "") for name, row in _beir_rows(folder / "queries.jsonl")}
    files = {path.stem: path for path in sorted((folder / "qrels").glob("*.tsv"))}
    if not files:
        single = [path for path in (folder / "qrels.tsv", folder / "qrels") if path.is_file()]
        files = dict(zip(["test"], single, strict=False))
    if not files:
        raise ValueError(f"{folder} has no qrels: expected qrels/test.tsv (query-id, corpus-id, score)")
    test = files.pop("test", None) or files.pop(sorted(files)[0])
    training = [question for path in files.values() for question in _beir_questions(path, texts)]
    collection = Collection(documents, tuple(training), tuple(_beir_questions(test, texts)))
    return _checked(collection, str(folder))


def _checked(collection: Collection, where: str) -> Collection:
    if not collection.test:
        raise ValueError(f"there is no question to judge {where} on")
    names = {document.path or document.document_id for document in collection.documents}
    if not any(question.relevant & names for question in collection.test):
        raise ValueError(f"no document that the questions call relevant is in {where}")
    return collection


def _beir_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, row in _json_lines(path):
        name = row.get("_id")
        if name is None:
            raise ValueError(f'{path}, line {number}: expected an object with "_id"')
        yield str(name), row


def _beir_document(name: str, row: Mapping[str, Any]) -> Document:
    title, text = str(row.get("title") or "").strip(), str(row.get("text") or "").strip()
    digest = hashlib.md5(f"{title}\n{text}".encode(), usedforsecurity=False).hexdigest()
    # No path: its words are searched, and the number of a record says nothing.
    return Document(TENANT, name, "1", title, "", digest, text or title)


def _beir_questions(path: Path, texts: Mapping[str, str]) -> Iterator[JudgedQuestion]:
    grades: dict[str, dict[str, int]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for cells in csv.reader(file, delimiter="\t"):
            if len(cells) == 4:  # trec_eval's form has a second column without meaning
                cells = [cells[0], cells[2], cells[3]]
            if len(cells) != 3 or not _is_number(cells[2]):
                continue  # the header
            if int(float(cells[2])) > 0:
                grades.setdefault(cells[0], {})[cells[1]] = int(float(cells[2]))
    for name, judged in grades.items():
        if texts.get(name):
            yield JudgedQuestion(texts[name], frozenset(judged), path.stem, "", judged)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        lines = path.open(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist") from error
    with lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: expected an object")  # noqa: TRY004 - input
            yield number, row
