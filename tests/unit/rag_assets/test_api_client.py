import httpx
import pytest

from rag_assets.copilot.client import ApiCopilot, ApiError
from rag_assets.copilot.questions import Question


def test_the_client_waits_as_long_as_the_language_model_may_take() -> None:
    """Forbids that `ask` gives up after 30 s on an answer that may take 300."""
    copilot = ApiCopilot("http://api", model_seconds=300.0)

    # 300 s of the model and 30 s for everything else.
    assert copilot._client.timeout.read == 330.0


@pytest.mark.parametrize("failure", [httpx.ReadTimeout, httpx.ConnectError, httpx.RemoteProtocolError])
def test_an_api_that_breaks_off_is_told(monkeypatch: pytest.MonkeyPatch, failure: type[Exception]) -> None:
    """Forbids a stack trace of the HTTP library."""

    def fail(_: httpx.Request) -> httpx.Response:
        raise failure("gone")

    copilot = ApiCopilot("http://api")
    monkeypatch.setattr(
        copilot, "_client", httpx.Client(base_url="http://api", transport=httpx.MockTransport(fail))
    )

    with pytest.raises(ApiError, match=f"http://api/? broke off .{failure.__name__}: gone.*opsgraph status"):
        copilot.diagnose(Question("What does E101 mean?", "plant"))
