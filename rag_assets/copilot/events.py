"""Answers as server-sent events: what was found as it is found, then the answer, sentence by sentence.

Events of one request belong to one tenant, since each request has its own stream. Avoid routes here.
"""

import json
import queue
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from fastapi.encoders import jsonable_encoder
from fastapi.responses import StreamingResponse

from rag_assets.copilot.copilot import Copilot, Diagnosis
from rag_assets.copilot.questions import Question

_Event = tuple[str, Mapping[str, Any]]


def wants_events(headers: Mapping[str, str]) -> bool:
    """Whether the caller asks for a stream by its `Accept` header."""
    return "text/event-stream" in headers.get("accept", "")


def as_event_stream(events: Iterable[_Event]) -> StreamingResponse:
    """A response of server-sent events; an error on the way becomes the last event."""
    return StreamingResponse(
        _lines(events), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def answer_events(
    copilot: Copilot, question: Question, question_id: str | None = None, keep: bool = True
) -> Iterator[_Event]:
    """`text` as a model writes, `evidence` per tool, `sentence` per statement, then the whole `answer`."""
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="answer") as pool:
        answering = pool.submit(copilot.diagnose, question, question_id, keep, pieces.put)
        answering.add_done_callback(lambda _: pieces.put(None))
        while (piece := pieces.get()) is not None:
            yield "text", {"text": piece}
    yield from _said(answering.result())


def query_events(
    copilot: Copilot, question: Question, hits: list[dict[str, Any]], index_build: str, with_answer: bool
) -> Iterator[_Event]:
    """`hit` for each document, then what `answer_events` gives if an answer is wanted, then `done`."""
    for hit in hits:
        yield "hit", hit
    if with_answer:
        yield from answer_events(copilot, question)
    yield "done", {"index_build": index_build, "hit_count": len(hits)}


def _said(diagnosis: Diagnosis) -> Iterator[_Event]:
    for line in diagnosis.looked_at:
        yield "evidence", {"looked_at": line}
    for sentence in diagnosis.answer.split("] "):
        text = sentence if sentence.endswith("]") else f"{sentence}]" if "[" in sentence else sentence
        yield "sentence", {"text": text}
    yield "answer", asdict(diagnosis)


def _lines(events: Iterable[_Event]) -> Iterator[str]:
    try:
        for name, data in events:
            yield f"event: {name}\ndata: {json.dumps(jsonable_encoder(data), ensure_ascii=False)}\n\n"
    except Exception as error:
        # The status line is long gone: the stream itself has to say that it broke.
        problem = {"code": "stream_failed", "message": f"the answer broke off: {type(error).__name__}"}
        yield f"event: error\ndata: {json.dumps({'error': problem})}\n\n"
