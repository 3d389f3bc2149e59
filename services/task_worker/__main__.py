"""`python -m services.task_worker`."""

from services.task_worker.app import run
from services.task_worker.settings import TaskWorkerSettings
from shared.bus.service import serve

if __name__ == "__main__":
    settings = TaskWorkerSettings()
    serve(lambda: run(settings))
