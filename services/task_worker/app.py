"""The composition of the task worker."""

from collections.abc import Sequence

from services.task_worker.alarm import watch
from services.task_worker.callbacks.service import expire_callbacks, send_callbacks
from services.task_worker.callbacks.signing import Signer
from services.task_worker.extraction import Extractor, load_patterns
from services.task_worker.handlers import SHARING, batch_handlers, handlers
from services.task_worker.queries import QUERIES
from services.task_worker.runs.alarm import watch_runs
from services.task_worker.runs.asking import Asking
from services.task_worker.runs.extracting import Extracting
from services.task_worker.runs.retention import expire_output
from services.task_worker.settings import TaskWorkerSettings
from shared.bus.service import run_worker
from shared.messages import Command
from shared.targets import Allowed

NAME = "task_worker"


async def run(settings: TaskWorkerSettings) -> None:
    """Run until SIGTERM. Raises PatternsError."""
    sending = send_callbacks(Signer(settings.callback_secret.get_secret_value()), Allowed.of(settings.callback_allow))
    asking = Asking()
    extracting = Extracting(Extractor(load_patterns(settings.config)))

    def committed(commands: Sequence[Command]) -> None:
        asking.committed(commands)
        extracting.committed(commands)

    await run_worker(
        settings,
        NAME,
        areas=["task", "agent"],
        handlers=handlers(asking),
        batch_handlers=batch_handlers(settings.task_ageing_s, settings.run_lines_per_s),
        queries=QUERIES,
        background=[watch, watch_runs, asking.run, sending, expire_callbacks, expire_output(settings.keep_output_days)],
        sharing=SHARING,
        finishing=[extracting.run],
        on_committed=committed,
    )
