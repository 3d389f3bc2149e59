"""A no-op on Dramatiq, as its guide writes it."""

import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from tasks_peer import done, produce

broker = RabbitmqBroker(url=os.environ["AMQP_URL"], confirm_delivery=os.environ["CONFIRMS"] == "yes")
dramatiq.set_broker(broker)


@dramatiq.actor
def noop(at: float) -> None:
    done(at)


if __name__ == "__main__":
    produce(noop.send)
