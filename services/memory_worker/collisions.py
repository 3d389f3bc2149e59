"""Two agents who write one memory at nearly the same time: both versions are kept, and they review them together; pure.

It is no error of either: the writers are answered as ever, and a review sidebar is asked for.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from services.memory_worker.memories import Draft, Place
from shared.bus.follow_ups import FollowUp

# Versions of one key by different authors within that time are simultaneous findings.
TOGETHER = timedelta(seconds=2)
# A sidebar takes so many participants. Of the versions the newest are named: with ids as long as they may be, more
# would not fit into its references.
MOST_PARTICIPANTS, MOST_NAMED = 100, 12


@dataclass(slots=True)
class Collision:
    """The versions of one memory that were written together, each with its author; the last of them is a draft's."""

    last: Draft
    authors: dict[int, str] = field(default_factory=dict)


class Collisions:
    """What collided within a batch: of each memory one collision, however many have met."""

    def __init__(self) -> None:
        self._found: dict[Place, Collision] = {}

    def add(self, draft: Draft, version: int, other: str) -> None:
        """A draft has become this version, and another agent wrote the one before just then."""
        found = self._found.setdefault(draft.place, Collision(draft))
        found.last = draft
        found.authors |= {version - 1: other, version: draft.author}

    def reviews(self) -> list[tuple[int, FollowUp]]:
        """The review to ask for on behalf of each collision, with the place in the batch of the last who met."""
        return [(found.last.at, review(found)) for found in self._found.values()]


def review(collision: Collision) -> FollowUp:
    """The command that opens the review of a memory, or brings more to the one that is open."""
    draft, versions = collision.last, sorted(collision.authors)
    return FollowUp(
        "spawn_sidebar",
        {
            "session_id": draft.session_id,
            "participants": list(dict.fromkeys(collision.authors[version] for version in versions))[:MOST_PARTICIPANTS],
            "task_description": f"Review simultaneous findings: {draft.key}",
            "success_criteria": "Consolidate both findings into one",
            "priority": "normal",
            "review_of": draft.key,
            "data_refs": {
                f"{draft.key}@{version}": {
                    "memory": {"session_id": draft.session_id, "key": draft.key, "version": version},
                    "author": collision.authors[version],
                }
                for version in versions[-MOST_NAMED:]
            },
        },
    )
