"""How many replays may be under way at one ingress."""

from contextlib import ExitStack

import pytest

from services.ingress.session_api.replays import MAX_REPLAYS, Replays
from shared.errors import Rejected


def test_those_that_are_just_beginning_count_and_what_does_not_begin_holds_no_place() -> None:
    replays = Replays()
    with ExitStack() as beginning:
        for _ in range(MAX_REPLAYS):
            beginning.enter_context(replays.beginning())
        with pytest.raises(Rejected, match="under way"), replays.beginning():
            pass
    with pytest.raises(KeyError), replays.beginning():
        raise KeyError
    with ExitStack() as beginning:
        for _ in range(MAX_REPLAYS):
            beginning.enter_context(replays.beginning())
