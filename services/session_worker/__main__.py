"""`python -m services.session_worker`."""

from services.session_worker.app import run
from services.session_worker.settings import SessionWorkerSettings
from shared.bus.service import serve

if __name__ == "__main__":
    settings = SessionWorkerSettings()
    serve(lambda: run(settings))
