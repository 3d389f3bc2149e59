"""`python -m services.task_worker`."""

from services.task_worker.app import run
from shared.bus.service import serve
from shared.settings import Settings

if __name__ == "__main__":
    settings = Settings()
    serve(lambda: run(settings))
