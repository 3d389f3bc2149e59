"""What the task worker is told from outside, beside what every service is."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator

from shared.settings import Settings
from shared.targets import Allowed


class TaskWorkerSettings(Settings):
    """The settings of the task worker."""

    task_ageing_s: float = Field(
        60,
        alias="SWITCHYARD_TASK_AGEING_S",
        gt=0,
        description="in so many seconds a waiting task's priority goes up by 1",
    )

    run_lines_per_s: float = Field(
        10_000,
        alias="SWITCHYARD_RUN_LINES_PER_S",
        gt=0,
        description="lines of output a second that the runner of an agent's run is asked to keep to",
    )
    keep_output_days: float = Field(
        30,
        alias="SWITCHYARD_KEEP_OUTPUT_DAYS",
        gt=0,
        description="how long agents' output, and what was found in it, is kept",
    )

    config: Path = Field(
        Path("switchyard.toml"),
        alias="SWITCHYARD_CONFIG",
        description="the file with the patterns of one's own that output is searched for",
    )

    callback_secret: SecretStr = Field(
        SecretStr(""),
        alias="SWITCHYARD_CALLBACK_SECRET",
        description="signs callbacks (`whsec_…`; several, with spaces between, while one replaces another)",
    )
    callback_allow: str = Field(
        "",
        alias="SWITCHYARD_CALLBACK_ALLOW",
        description="targets of callbacks that are allowed though they are not public: hosts, addresses, networks",
    )

    @field_validator("callback_allow")
    @classmethod
    def _names_targets(cls, setting: str) -> str:
        Allowed.of(setting)
        return setting
