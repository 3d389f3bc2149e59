"""The settings of this checkout: `.env` (made with random secrets when there is none), the environment, defaults."""

import os
import re
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dotenv import dotenv_values

from cli.local.processes import LocalError, write_private
from shared import WORKERS

# The checkout: what holds cli/, services/ and migrations/.
ROOT = Path(__file__).resolve().parents[2]
# Of the folder a command is called in.
ENV_FILE = Path(".env")

SECRETS = ("SWITCHYARD_API_KEY", "SWITCHYARD_SECRET", "GITHUB_WEBHOOK_SECRET", "SWITCHYARD_CALLBACK_SECRET")

# The order of the log's prefixes.
SERVICES = ("ingress", "ws_gateway", *WORKERS)


def random_secret(name: str) -> str:
    """A fresh value for one of `SECRETS`."""
    from shared.auth import make_key  # its imports would take half of the time of a command

    match name:
        case "SWITCHYARD_API_KEY":
            return make_key()
        case "SWITCHYARD_CALLBACK_SECRET":
            # As Standard Webhooks writes them; 33 bytes take no `=` at the end.
            return f"whsec_{b64encode(secrets.token_bytes(33)).decode()}"
        case _:
            return secrets.token_urlsafe(32)


def make_env_file(path: Path, example: Path = ROOT / ".env.example") -> bool:
    """Write a `.env` like the example, with random secrets and for our eyes only; False when there is one already."""
    if path.exists():
        return False
    text = example.read_text() if example.exists() else "".join(f"{name}=\n" for name in SECRETS)
    text = text.replace(": the values here are known to everybody, so replace them before anything", "")
    text = text.replace(" but this machine can reach you.", " of this checkout, made by `make up`.")
    for name in SECRETS:
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={random_secret(name)}", text)
    write_private(path, text)
    return True


def complete_env_file(path: Path, environment: "Environment") -> list[str]:
    """Add random values for secrets that are set nowhere to an existing `.env`; returns their names."""
    missing = [name for name in SECRETS if not environment.get(name)]
    if missing:
        lines = [f"{name}={random_secret(name)}\n" for name in missing]
        write_private(path, path.read_text().rstrip("\n") + "\n\n# Added by `make up`.\n" + "".join(lines))
    return missing


def example_secrets(values: Mapping[str, str]) -> list[str]:
    """The names of secrets that still have the value everybody knows from `.env.example`."""
    return [name for name in SECRETS if re.search(r"replace[-_+]me", values.get(name, ""))]


@dataclass(frozen=True)
class Environment:
    """What is in force, as text, under the names of the environment. An empty value counts as not set."""

    values: Mapping[str, str]

    @classmethod
    def load(cls, env_file: Path, environ: Mapping[str, str] | None = None) -> "Environment":
        """The file's values, overruled by the process's environment."""
        file = dotenv_values(env_file) if env_file.exists() else {}
        merged = {**file, **(os.environ if environ is None else environ)}
        return cls({name: value or "" for name, value in merged.items()})

    def get(self, name: str, default: str = "") -> str:
        """A setting, or the default."""
        return self.values.get(name) or default

    def port(self, name: str, default: int) -> int:
        """A setting that is a TCP port; LocalError when it is not."""
        text = self.get(name, str(default))
        if not text.isdigit() or not 0 < int(text) < 65_536:
            raise LocalError(f"{name}={text} is no port. Put a number from 1 to 65535 into .env.")
        return int(text)

    @cached_property
    def data(self) -> Path:
        """The folder that holds everything which outlives a run."""
        return Path(self.get("SWITCHYARD_DATA", ".switchyard")).expanduser().resolve()

    @cached_property
    def ingress_port(self) -> int:
        """The port of the HTTP API."""
        return self.port("SWITCHYARD_INGRESS_PORT", 8000)

    @cached_property
    def gateway_port(self) -> int:
        """The port of the WebSocket."""
        return self.port("SWITCHYARD_GATEWAY_PORT", 8001)

    @cached_property
    def workers_port(self) -> int:
        """The health port of the first worker."""
        return self.port("SWITCHYARD_WORKERS_PORT", self.ingress_port + 11)

    @property
    def api_url(self) -> str:
        """Where the HTTP API is for programs on this machine."""
        return f"http://127.0.0.1:{self.ingress_port}"

    @property
    def gateway_url(self) -> str:
        """Where the WebSocket is for programs on this machine."""
        return self.get("SWITCHYARD_GATEWAY_URL", f"ws://127.0.0.1:{self.gateway_port}/ws")

    def health_port(self, service: str) -> int:
        """The port on which a service answers `/health/ready`."""
        if service in WORKERS:
            return self.workers_port + WORKERS.index(service)
        return self.gateway_port if service == "ws_gateway" else self.ingress_port

    def with_values(self, values: Mapping[str, str]) -> "Environment":
        """A copy with some settings replaced."""
        return Environment({**self.values, **values})

    def for_children(self) -> dict[str, str]:
        """The whole environment of a service started by us: paths absolute, ports and form of the logs settled."""
        return {
            **os.environ,
            **self.values,
            "SWITCHYARD_DATA": str(self.data),
            "SWITCHYARD_INGRESS_PORT": str(self.ingress_port),
            "SWITCHYARD_GATEWAY_PORT": str(self.gateway_port),
            "SWITCHYARD_WORKERS_PORT": str(self.workers_port),
            "SWITCHYARD_LOG_FORMAT": "console",
            "PYTHONUNBUFFERED": "1",
        }


def available_services(root: Path = ROOT) -> list[str]:
    """The services this checkout has."""
    return [name for name in SERVICES if (root / "services" / name / "__main__.py").exists()]


def free_environment(**values: str) -> Environment:
    """Settings for a stack beside others: random secrets, and ports that are free now."""
    from cli.local import ports

    base = ports.free_port(offsets=(0, 1, *(11 + index for index in range(len(WORKERS)))))
    made = {name: random_secret(name) for name in SECRETS}
    made["SWITCHYARD_INGRESS_PORT"] = str(base)
    made["SWITCHYARD_GATEWAY_PORT"] = str(base + 1)
    made["SWITCHYARD_WORKERS_PORT"] = str(base + 11)
    # Empty, but there: so that the `.env` of this checkout has no say in it.
    others = [name for name in dotenv_values(ROOT / ".env.example") if name not in made]
    made |= dict.fromkeys(others, "")
    return Environment({**made, **values})
