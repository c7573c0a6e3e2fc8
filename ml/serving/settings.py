"""Settings of the stand-alone inference application; the API on port 8000 gets its own from the edge."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServingSettings(BaseSettings):
    """What the stand-alone application reads from the environment, and nothing else does."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, frozen=True)

    model_path: Path = Field(
        default=Path("/models/model.pkl"),
        validation_alias="MODEL_PATH",
        description="Model file. `model.json` beside a `.pkl` is taken first: the same model without code.",
    )
    baseline_path: Path = Field(
        default=Path("/models/baseline.npy"),
        validation_alias="BASELINE_PATH",
        description="Mean and deviation per feature, shape (2, features), or training rows.",
    )
    expectations_path: Path = Field(
        default=Path("/models/expectations.json"),
        validation_alias="EXPECTATIONS_PATH",
        description="Great Expectations suite over the features.",
    )
    drift_webhook: str = Field(
        default="", validation_alias="DRIFT_WEBHOOK", description="Where drift events are posted."
    )
    require_webhook: bool = Field(
        default=False,
        validation_alias="REQUIRE_WEBHOOK",
        description="True: refuse to start without DRIFT_WEBHOOK.",
    )
    allow_pickle: bool = Field(
        default=False,
        validation_alias="ALLOW_PICKLE",
        description="True: load a pickled estimator. A pickle runs whatever it holds, so it is refused else.",
    )
    reload_seconds: float = Field(
        default=5.0,
        gt=0,
        validation_alias="RELOAD_SECONDS",
        description="How often the files are looked at; a changed model file is loaded while the old serves.",
    )
