"""The sender: takes callbacks that are due under a lease, POSTs them outside transactions, records what came of them.

Every replica of the task worker may send at the same time. Whoever dies in the middle leaves a lease behind; after it,
another sends the same callback again, with the same `webhook-id`.
"""

import asyncio
import ssl
import time
from collections import Counter
from datetime import UTC, datetime

from prometheus_client import Counter as Metric

from services.task_worker.callbacks import store, verdicts
from services.task_worker.callbacks.post import NoAnswer, post
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.store import Claimed
from services.task_worker.callbacks.targets import Resolve, Unresolved, addresses_of
from services.task_worker.callbacks.verdicts import Verdict
from shared.database import Database, is_transient
from shared.errors import Rejected
from shared.logs import get_logger
from shared.targets import Allowed, target_of

# A receiver has this long for everything: resolving, connecting, TLS, taking the body, answering.
DEADLINE_SECONDS = 20.0
# Longer than the deadline and the recording take, so that nothing is sent twice while its sender lives.
LEASE_SECONDS = 60.0
CONCURRENT = 32
PER_HOST = 8
LOOK_AGAIN_SECONDS = 1.0
# What a stop waits for posts that are under way.
GRACE_SECONDS = 3.0
RETRY_SECONDS = 1.0
REMIND_SECONDS = 60.0

ATTEMPTS = Metric(
    "switchyard_callback_attempts_total", "Attempts to deliver callbacks, by what came of them", ["status"]
)
log = get_logger()


class Sender:
    """Sends callbacks until cancelled."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        allowed: Allowed,
        *,
        resolve: Resolve,
        tls: ssl.SSLContext,
        owed: asyncio.Event,
        deadline: float = DEADLINE_SECONDS,
        lease: float = LEASE_SECONDS,
        look_again: float = LOOK_AGAIN_SECONDS,
    ) -> None:
        """`owed` is set when there is something new to send; what other processes owe is found by looking again."""
        self._database = database
        self._signer = signer
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._owed = owed
        self._deadline = deadline
        self._lease = lease
        self._look_again = look_again
        self._under_way: dict[asyncio.Task[None], str] = {}

    async def run(self) -> None:
        """Send until cancelled; what is under way then has three seconds to end."""
        while not self._signer.ready:
            log.error("callbacks_wait", hint="set SWITCHYARD_CALLBACK_SECRET: callbacks are not sent unsigned")
            await asyncio.sleep(REMIND_SECONDS)
        try:
            while True:
                self._owed.clear()
                if not await self._take():
                    await self._pause()
        finally:
            if self._under_way:
                await asyncio.wait(self._under_way, timeout=GRACE_SECONDS)
            for task in self._under_way:
                task.cancel()

    async def _take(self) -> int:
        """Begin to send what is due, as far as there is room; returns how many that were."""
        room = CONCURRENT - len(self._under_way)
        if room <= 0:
            return 0
        hosts = Counter(self._under_way.values())
        try:
            async with self._database.transaction() as tx:
                claimed = await store.claim_callbacks(tx, hosts, per_host=PER_HOST, limit=room, lease=self._lease)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("callbacks_wait", reason=str(error).split("\n")[0], retry_s=self._look_again)
            return 0
        for each in claimed:
            task = asyncio.create_task(self._send(each))
            self._under_way[task] = each.host
            task.add_done_callback(self._done)
        return len(claimed)

    async def _pause(self) -> None:
        """Until something is owed, something under way has ended, or it is time to look again."""
        nudge = asyncio.ensure_future(self._owed.wait())
        try:
            await asyncio.wait([nudge, *self._under_way], timeout=self._look_again, return_when=asyncio.FIRST_COMPLETED)
        finally:
            nudge.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        if not task.cancelled() and (error := task.exception()):
            # What came of it is not recorded: its lease passes, and then it is tried again.
            log.error("callback_not_recorded", exc_info=error)

    async def _send(self, claimed: Claimed) -> None:
        started = time.monotonic()
        verdict = await self._attempt(claimed)
        ms = round((time.monotonic() - started) * 1000)
        ATTEMPTS.labels(verdict.status).inc()
        # The URL's path and query may be somebody's secret.
        (log.info if verdict.status == "delivered" else log.warning)(
            "callback_attempt",
            callback_id=claimed.id,
            message_id=claimed.message_id,
            task_id=claimed.task_id,
            host=claimed.host.rpartition("@")[2],
            number=claimed.number,
            status=verdict.status,
            http_status=verdict.http_status,
            error=verdict.error,
            ms=ms,
            next_s=round(verdict.wait) if verdict.wait is not None else None,
        )
        await self._record(claimed, verdict, ms)

    async def _attempt(self, claimed: Claimed) -> Verdict:
        number, age = claimed.number, claimed.age
        try:
            async with asyncio.timeout(self._deadline):
                target = target_of(claimed.url, self._allowed)
                addresses = await addresses_of(target, self._allowed, self._resolve)
                now = datetime.now(UTC)
                headers = self._signer.headers(claimed.id, now, claimed.body)
                answer = await post(target, addresses, headers, claimed.body.encode(), self._tls)
        except Rejected as refusal:
            return verdicts.of_refusal(refusal.details["fields"][0]["fault"])
        except (NoAnswer, Unresolved) as error:
            return verdicts.of_failure(str(error), number, age)
        except TimeoutError:
            return verdicts.of_failure(f"no answer within {self._deadline:g} s", number, age)
        except Exception as error:
            # A bug, which must not have it tried without end.
            log.error("callback_attempt_broken", callback_id=claimed.id, exc_info=error)
            return verdicts.of_failure(f"{type(error).__name__}: {error}", number, age)
        return verdicts.of_answer(answer, number, age, now)

    async def _record(self, claimed: Claimed, verdict: Verdict, ms: int) -> None:
        """Write down what came of an attempt; with the database away, as long as the lease is ours."""
        end = time.monotonic() + self._lease - self._deadline
        while True:
            try:
                async with self._database.transaction() as tx:
                    await store.save_attempt(tx, claimed, verdict, ms)
            except Exception as error:
                if not is_transient(error) or time.monotonic() > end:
                    raise
                log.warning("callback_not_recorded", callback_id=claimed.id, reason=str(error).split("\n")[0])
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
