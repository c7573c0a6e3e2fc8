"""The FastAPI application of opsgraph (port 8000): mounts the routers of the domain packages.

Mount a router here when a domain package has one. Avoid endpoints of a domain here.
"""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from orchestration.api.access import AccessMiddleware, TenantLimiter
from orchestration.api.docs import docs_router
from orchestration.api.errors import add_error_handlers
from orchestration.api.health import health_router
from orchestration.api.incident_routes import incident_router
from orchestration.api.inference import Inference
from orchestration.api.intake_routes import intake_router
from orchestration.api.landing_metrics import LandingCollector
from orchestration.environment import Environment
from rag_assets.copilot.analytics_http import analytics_router
from rag_assets.copilot.answers_http import answers_router
from rag_assets.copilot.http import copilot_router
from rag_assets.copilot.keys import KeyStore

if TYPE_CHECKING:
    from rag_assets.copilot.agent.writer import ModelWriter
    from rag_assets.copilot.copilot import Copilot

_log = logging.getLogger(__name__)
_DESCRIPTION = (
    "Questions about machines, answered from predictions, marts and runbooks with numbered citations."
)


def create_app(environment: Environment | None = None) -> FastAPI:
    """The application; settings are read once, here.

    Args:
        environment: Settings; by default those of the process's environment.
    """
    settings = environment or Environment()
    served: dict[str, Copilot] = {}
    inference = Inference(settings)
    keys = KeyStore(settings.database_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with ExitStack() as opened:  # what was opened before a start that fails is closed as well
            opened.callback(keys.close)
            keys.open()
            served["copilot"] = opened.enter_context(closing(_open(settings)))
            opened.callback(inference.close)
            inference.open()
            yield

    app = FastAPI(
        title="opsgraph API",
        version=version("opsgraph"),
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    def copilot() -> "Copilot":
        return served["copilot"]

    app.include_router(copilot_router(copilot))
    app.include_router(analytics_router(copilot))
    app.include_router(answers_router(copilot))
    app.include_router(health_router(copilot))
    limiter = TenantLimiter(settings.api_requests_per_minute)
    app.include_router(intake_router(settings, limiter))
    app.include_router(incident_router(settings))
    inference.mount(app)
    inference.metrics_registry.register(LandingCollector(settings))
    app.include_router(docs_router())
    add_error_handlers(app)
    # Outermost: a route that is mounted later, by whatever package, is behind it too.
    app.add_middleware(AccessMiddleware, keys=keys, limiter=limiter, keys_required=settings.api_keys_required)
    return app


def _writer(settings: Environment) -> "ModelWriter | None":
    """The language model of the settings; None leaves the copilot extractive."""
    if settings.llm_model is None:
        return None
    from rag_assets.copilot.agent.models import ModelSettings
    from rag_assets.copilot.agent.writer import ModelWriter

    return ModelWriter(
        ModelSettings(
            provider=settings.llm_provider,
            model=settings.llm_model,
            url=settings.llm_url,
            api_key=settings.llm_api_key,
            timeout_s=settings.llm_timeout_s,
            max_tokens=settings.llm_max_tokens,
            max_cost=settings.llm_max_cost,
            price_in=settings.llm_price_in,
            price_out=settings.llm_price_out,
        )
    )


def _open(settings: Environment) -> "Copilot":
    from rag_assets.copilot.copilot import open_copilot
    from rag_assets.embedders import open_embedder
    from rag_assets.index.stores import open_store

    embedder = open_embedder(
        settings.state_dir / "models",
        settings.embedder,
        settings.embedding_base_url,
        settings.embedding_api_key,
    )
    copilot = open_copilot(
        settings.database_url,
        open_store(settings.index_dir, settings.qdrant_url),
        embedder,
        writer=_writer(settings),
    )

    def warm_up() -> None:
        try:
            embedder.embed_question("ready")
        except Exception:
            _log.exception("the embedder %s is not ready; every question tries it again", embedder.name)

    copilot.live.watch()
    # The model takes up to 5 s on its first load; neither health nor the first question must wait for it.
    threading.Thread(target=warm_up, name="warm-up-embedder", daemon=True).start()
    return copilot
