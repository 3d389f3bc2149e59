"""The API keys in force, as a door knows them: by the hashes of their secrets, and by their names; tokens revoked."""

import hmac
from collections.abc import Iterable, Sequence

from shared.auth import KEY_PREFIX, SCOPES, Caller, hash_key
from shared.errors import Rejected
from shared.limits import Bucket
from shared.messages.access import RingKey
from shared.messages.live import RevokedTokens
from shared.reach import Sessions
from shared.topics import Topics


class KeyRing:
    """The keys in force beside the bootstrap key; until `replace` was called once, nobody knows which those are."""

    def __init__(self, bootstrap_key: str | None, *, default_rate: int = 0) -> None:
        """`bootstrap_key` has every scope, no limit, and works with the database away.

        `default_rate`: requests a minute for keys without a rate of their own; 0: no limit.
        """
        self._bootstrap = None if bootstrap_key is None else hash_key(bootstrap_key)
        self._bootstrap_caller = Caller("bootstrap", SCOPES)
        self._default_rate = default_rate
        self._by_hash: dict[bytes, Caller] = {}
        self._by_name: dict[str, Caller] = {}
        self._revoked: frozenset[str] = frozenset()
        # Tokens out of force: their ids, and for agents the moment until which theirs were made.
        self._revoked_tokens: frozenset[str] = frozenset()
        self._revoked_agents: dict[str, float] = {}
        self.loaded = False

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, key: str) -> Caller | None:
        """The caller a key belongs to, None for a wrong one; takes the same time for any wrong key.

        Raises `Rejected("unavailable")` for what may be a key as long as no keys are known.
        """
        digest = hash_key(key)
        if self._bootstrap is not None and hmac.compare_digest(digest, self._bootstrap):
            return self._bootstrap_caller
        caller = self._by_hash.get(digest)
        if caller is None and not self.loaded and key.startswith(KEY_PREFIX):
            raise Rejected(
                "unavailable",
                "keys can't be checked yet: this door has not reached the session worker since its start; try again",
                retry_after=2,
            )
        return caller

    def named(self, name: str) -> Caller | None:
        """The caller whose key in force has this name."""
        return self._by_name.get(name)

    def is_revoked(self, name: str) -> bool:
        """Whether the key of this name was revoked, so lately that tokens it asked for may not have expired."""
        return name in self._revoked

    def is_token_revoked(self, token_id: str, agent_id: str, issued: float) -> bool:
        """Whether a token was revoked, by its id or with all that were made for its agent so far.

        `issued`: when it was made, in seconds since 1970.
        """
        return token_id in self._revoked_tokens or issued <= self._revoked_agents.get(agent_id, -1.0)

    def replace(
        self, keys: Sequence[RingKey], revoked: Iterable[str], revoked_tokens: Iterable[RevokedTokens] = ()
    ) -> None:
        """Put these keys in force instead of those before; who has used up a rate that stays has still used it up."""
        self._revoked_tokens, self._revoked_agents = _by_token_and_agent(revoked_tokens)
        by_name = {key.name: self._caller(key) for key in keys}
        self._by_hash = {bytes.fromhex(key.key_hash): by_name[key.name] for key in keys}
        self._by_name = by_name
        self._revoked = frozenset(revoked)
        self.loaded = True

    def _caller(self, key: RingKey) -> Caller:
        return Caller(
            key.name,
            frozenset(key.scopes),
            None if key.sessions is None else Sessions(key.sessions),
            None if key.topics is None else Topics(key.topics),
            self._bucket(key),
        )

    def _bucket(self, key: RingKey) -> Bucket | None:
        rate = self._default_rate if key.rate_per_minute is None else key.rate_per_minute
        if rate == 0:
            return None
        before = self._by_name.get(key.name)
        if before is not None and before.bucket is not None and before.bucket.burst == rate:
            return before.bucket
        return Bucket(rate / 60, rate)


def _by_token_and_agent(revoked: Iterable[RevokedTokens]) -> tuple[frozenset[str], dict[str, float]]:
    tokens: set[str] = set()
    agents: dict[str, float] = {}
    for each in revoked:
        if each.token_id is not None:
            tokens.add(each.token_id)
        elif each.agent_id is not None:
            agents[each.agent_id] = max(each.made_until, agents.get(each.agent_id, each.made_until))
    return frozenset(tokens), agents
