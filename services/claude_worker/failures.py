"""What goes wrong with an attempt, and what the room is told in the end: short, honest, and without a stack trace."""

from typing import Any, NamedTuple

from shared.errors import SwitchyardError
from shared.messages.chat import Spent


class Failure(NamedTuple):
    """A kind of failure: what the records call it, and the sentence for the room."""

    reason: str
    told: str


class AttemptFailed(SwitchyardError):
    """An attempt came to nothing; its client must be closed, for it remembers what is not to be remembered."""

    def __init__(
        self, failure: Failure, detail: str = "", spent: Spent | None = None, entries: Any | None = None
    ) -> None:
        """`entries`: what a client that was interrupted, and stays usable, remembers of the answer it was giving."""
        super().__init__(detail or failure.reason)
        self.failure = failure
        self.spent = spent or Spent()
        self.entries = entries


DIED = Failure(
    "worker_died", "Sorry, I was cut off twice while answering this, so I have given it up. Please ask again."
)
DEADLINE = Failure("deadline", "Sorry, this took me too long, twice. Please ask again, or ask for less at once.")
CLIENT_DIED = Failure("client_died", "Sorry, I crashed twice while answering this. Please ask again.")
NO_CREDENTIAL = Failure(
    "no_credential", "I can't answer: no credential for Claude is configured here (set ANTHROPIC_API_KEY)."
)
NOT_INSTALLED = Failure("not_installed", "I can't answer: the Claude Agent SDK is not installed where I run.")
NOT_CONNECTED = Failure("not_connected", "Sorry, I could not be started. Please try again in a while.")
INTERRUPTED = Failure("interrupted", "I was interrupted.")
SWITCHED_OFF = Failure("switched_off", "I am switched off.")

_BY_STATUS = {
    400: Failure("api_400", "Sorry, Claude refused this request. Please put it in another way."),
    401: Failure("api_401", "I can't answer: the credential for Claude is not accepted. Please tell my operator."),
    403: Failure("api_403", "I can't answer: the credential for Claude may not do this. Please tell my operator."),
    404: Failure("api_404", "I can't answer: the model I was told to use does not exist. Please tell my operator."),
    413: Failure("api_413", "Sorry, this conversation has become too long for me. `reset_chat` begins a new one."),
    429: Failure(
        "api_429", "Sorry, I have been asked more than I am allowed to answer just now. Please try again later."
    ),
    529: Failure("api_529", "Sorry, Claude is overloaded just now. Please try again later."),
}


def failure_of_status(status: int | None) -> Failure:
    """The failure for an HTTP status of the API; None: there was no answer at all."""
    if status is None:
        return Failure("api_unreachable", "Sorry, I could not reach Claude. Please try again later.")
    return _BY_STATUS.get(
        status, Failure(f"api_{status}", "Sorry, Claude has had a fault just now. Please try again later.")
    )
