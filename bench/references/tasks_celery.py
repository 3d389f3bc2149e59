"""A no-op on Celery, as its guide writes it."""

import os

from celery import Celery
from tasks_peer import done, produce

app = Celery("tasks_celery", broker=os.environ["AMQP_URL"])
app.conf.broker_transport_options = {"confirm_publish": os.environ["CONFIRMS"] == "yes"}
app.conf.broker_connection_retry_on_startup = True


@app.task(name="noop", ignore_result=True)
def noop(at: float) -> None:
    done(at)


if __name__ == "__main__":
    produce(noop.delay)
