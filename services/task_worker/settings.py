"""What the task worker is told from outside, beside what every service is."""

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
