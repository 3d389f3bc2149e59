"""The composition of the task worker."""

from services.task_worker.alarm import watch
from services.task_worker.callbacks.service import expire_callbacks, send_callbacks
from services.task_worker.callbacks.signing import Signer
from services.task_worker.handlers import HANDLERS, SHARING, batch_handlers
from services.task_worker.queries import QUERIES
from services.task_worker.settings import TaskWorkerSettings
from shared.bus.service import run_worker
from shared.targets import Allowed

NAME = "task_worker"


async def run(settings: TaskWorkerSettings) -> None:
    """Run until SIGTERM."""
    sending = send_callbacks(Signer(settings.callback_secret.get_secret_value()), Allowed.of(settings.callback_allow))
    await run_worker(
        settings,
        NAME,
        areas=["task", "agent"],
        handlers=HANDLERS,
        batch_handlers=batch_handlers(settings.task_ageing_s),
        queries=QUERIES,
        background=[watch, sending, expire_callbacks],
        sharing=SHARING,
    )
