"""Run the memory worker: `python -m services.memory_worker`."""

from services.memory_worker.app import run
from shared.bus.service import serve
from shared.settings import Settings

serve(lambda: run(Settings()))
