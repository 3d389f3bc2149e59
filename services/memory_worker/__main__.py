"""`python -m services.memory_worker`."""

from services.memory_worker.app import run
from services.memory_worker.settings import MemoryWorkerSettings
from shared.bus.service import serve

if __name__ == "__main__":
    settings = MemoryWorkerSettings()
    serve(lambda: run(settings))
