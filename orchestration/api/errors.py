"""One shape for every error of the API: `{"error": {"code", "message", "detail"}}`.

Map an exception here when a caller can act on it. Avoid catching errors inside routes.
"""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from rag_assets.index.contract import BuildUnavailableError, MissingTenantError

_log = logging.getLogger(__name__)


def error_response(status: int, code: str, message: str, detail: Any = None) -> JSONResponse:
    """An error as the API gives it out."""
    body = {"error": {"code": code, "message": message, "detail": jsonable_encoder(detail)}}
    return JSONResponse(body, status_code=status)


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of the application the one shape."""

    def invalid_request(_: Request, error: Exception) -> JSONResponse:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        named = [{"field": ".".join(map(str, item["loc"][1:])), "problem": item["msg"]} for item in problems]
        message = "; ".join(f"{item['field'] or 'body'}: {item['problem']}" for item in named)
        return error_response(422, "invalid_request", message, named)

    def missing_tenant(_: Request, error: Exception) -> JSONResponse:
        return error_response(422, "missing_tenant", str(error))

    def no_index(_: Request, error: Exception) -> JSONResponse:
        return error_response(503, "index_unavailable", str(error))

    def no_database(_: Request, error: Exception) -> JSONResponse:
        return error_response(503, "database_unavailable", f"the database does not answer: {error}")

    def http_error(_: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else str(error)
        return error_response(status, "not_found" if status == 404 else "http_error", str(detail))

    def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        kind = type(error).__name__
        return error_response(500, "internal_error", f"the request failed ({kind}); the log has the cause")

    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(MissingTenantError, missing_tenant)
    app.add_exception_handler(BuildUnavailableError, no_index)
    app.add_exception_handler(OperationalError, no_database)
    app.add_exception_handler(PoolTimeout, no_database)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unexpected)
