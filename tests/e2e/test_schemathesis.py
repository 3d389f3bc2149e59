"""The OpenAPI document against the running services: requests made from it get only what it documents."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import APIOperation

from cli.local.stack import Stack
from services.ingress.openapi import document
from tests.e2e.conftest import Doors

# Enough to find what is commonly wrong, within the time a commit may take.
EXAMPLES = 3
# Sessions and other things the requests speak of half of the time, so that not all of them get 404.
KNOWN = {"session_id": "fuzz", "sessionId": "fuzz", "key": "plan", "task_id": "t", "sidebar_id": "aside"}
# A sign-in code works once, and a replay of events may take as long as the session did.
LEFT_OUT = {"POST /api/login", "GET /api/replay/session/{session_id}"}

load_all_checks()


def no_server_error(context: Any, response: Any, case: Any) -> None:
    """Nothing goes wrong here; only what was not set up may be said to be unavailable."""
    if response.status_code >= 500:
        problem = response.json()
        assert problem.get("details", {}).get("reason") == "not_configured", problem


CHECKS_OF_ALL = [
    no_server_error,
    *(
        CHECKS.get_one(name)
        for name in (
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
        )
    ),
]
# Nothing of wrong methods: an id may have slashes, so one path's `GET` is another's id.
CHECKS_OF_BAD = [CHECKS.get_one("negative_data_rejection")]
CONFIG = SchemathesisConfig.from_dict(
    {
        # Every request has the key; what becomes of wrong ones is tested elsewhere.
        "generation": {"with-security-parameters": False},
        "checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 406, 409, 412, 413, 415, 422, 431]}},
    }
)
OPERATIONS: dict[str, APIOperation[Any, Any, Any, Any]] = {
    found.ok().label: found.ok()
    for found in schemathesis.openapi.from_dict(document(), config=CONFIG).get_all_operations()
    if found.ok().label not in LEFT_OUT
}


@pytest.fixture(scope="module")
def session(stack: Stack) -> Iterator[requests.Session]:
    """A connection that is kept, with the key; what the requests may speak of is there."""
    doors = Doors(stack)
    doors.command("create_session", session_id="fuzz")
    doors.command("store_memory", session_id="fuzz", type="fact", key="plan", content="x")
    aside = {"session_id": "fuzz", "sidebar_id": "aside", "participants": ["ada"], "task_description": "x"}
    doors.command("spawn_sidebar", **aside)
    doors.http.close()
    with requests.Session() as session:
        session.headers["X-API-Key"] = stack.api_key
        yield session


# The same requests each time, so that a failure is the commit's and not the day's.
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def calls(case: Any, stack: Stack, session: requests.Session, checks: list[Any]) -> None:
    if isinstance(case.body, dict):
        # Waiting for what never comes finds nothing.
        case.body = {name: value for name, value in case.body.items() if name != "wait_s"}
    case.call_and_validate(base_url=stack.api_url, session=session, checks=checks, timeout=70)


def speak_of_what_is_there(case: Any) -> None:
    """Put known ids in place of those that were made up."""
    case.path_parameters = {name: KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()}
    if isinstance(case.body, dict):
        case.body = {name: KNOWN.get(name, value) for name, value in case.body.items()}


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_bound_and_every_fault_the_document_names_is_answered_as_it_says(
    stack: Stack, session: requests.Session, label: str
) -> None:
    operation = OPERATIONS[label]
    cases = operation.schema.iter_coverage_cases(
        operation,
        generation_modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE],
        generation_config=CONFIG.projects.default.generation,
    )
    for case in cases:
        calls(case, stack, session, [*CHECKS_OF_ALL, *CHECKS_OF_BAD])


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(stack: Stack, session: requests.Session, label: str) -> None:
    @bounded
    @given(case=OPERATIONS[label].as_strategy(generation_mode=GenerationMode.POSITIVE), known=booleans())
    def answer(case: Any, known: bool) -> None:
        if known:
            speak_of_what_is_there(case)
        calls(case, stack, session, CHECKS_OF_ALL)

    answer()


@pytest.mark.parametrize("label", OPERATIONS)
def test_what_it_does_not_allow_is_refused_as_it_says(stack: Stack, session: requests.Session, label: str) -> None:
    @bounded
    @given(case=OPERATIONS[label].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def answer(case: Any) -> None:
        calls(case, stack, session, [*CHECKS_OF_ALL, *CHECKS_OF_BAD])

    try:
        answer()
    except Unsatisfiable:
        pytest.skip("whatever is sent here is allowed")
