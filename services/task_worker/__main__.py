"""Run the task worker: `python -m services.task_worker`."""

from services.task_worker.app import run
from shared.bus.service import serve
from shared.settings import Settings

serve(lambda: run(Settings()))
