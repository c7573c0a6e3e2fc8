"""`GET /docs`: the API's documentation in one page that loads nothing from elsewhere.

FastAPI's own page fetches Swagger UI from a content network, which fails where there is none. The
page here reads `/openapi.json` and lets every request be tried.
"""

from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_PAGE = Path(__file__).with_name("docs_page.html")


@cache
def _page() -> str:
    return _PAGE.read_text(encoding="utf-8")


def docs_router() -> APIRouter:
    """The documentation route; not part of the schema that it shows."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs", response_class=HTMLResponse)
    def docs() -> HTMLResponse:
        return HTMLResponse(_page())

    return router
