"""What the task worker is told from outside, beside what every service is."""

from pydantic import Field, SecretStr

from shared.settings import Settings


class TaskWorkerSettings(Settings):
    """The settings of the task worker."""

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
