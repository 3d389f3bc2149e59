"""Commands as usually handled, in three processes: FastAPI, FastStream with the ORM, FastAPI."""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from faststream import FastStream
from faststream.rabbit import Channel, ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue
from pydantic import BaseModel
from sqlalchemy import ARRAY, JSON, Computed, Index, Text, func
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

COMMANDS = RabbitExchange("reference.commands", type=ExchangeType.TOPIC, durable=True)
EVENTS = RabbitExchange("reference.events", type=ExchangeType.TOPIC, durable=True)
QUEUE = RabbitQueue("reference.memory", queue_type=QueueType.QUORUM, durable=True, routing_key="memory.*")
ACTIONS = RabbitQueue("reference.actions", queue_type=QueueType.QUORUM, durable=True, routing_key="action.*")
BATCHES = RabbitQueue("reference.batches", queue_type=QueueType.QUORUM, durable=True, routing_key="batch.*")
FEED = RabbitQueue("reference.feed", exclusive=True, routing_key="#")
broker = RabbitBroker(os.environ["AMQP_URL"], default_channel=Channel(prefetch_count=20), logger=None)


class StoreMemory(BaseModel):
    session_id: str
    type: str
    key: str
    content: str
    tags: list[str] = []


class LogAction(BaseModel):
    session_id: str
    action_id: str
    type: str
    details: dict[str, Any] = {}


class Batch(BaseModel):
    commands: list[LogAction]


class Base(DeclarativeBase):
    pass


class Memory(Base):
    __tablename__ = "reference_memories"
    __table_args__ = (Index("reference_memories_search", "search", postgresql_using="gin"),)
    session_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    content: Mapped[Any] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    search: Mapped[Any] = mapped_column(
        TSVECTOR, Computed("to_tsvector('english'::regconfig, content)", persisted=True)
    )


class Action(Base):
    __tablename__ = "reference_actions"
    session_id: Mapped[str] = mapped_column(primary_key=True)
    action_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    details: Mapped[Any] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(server_default=func.now())


@asynccontextmanager
async def connected(_: FastAPI) -> AsyncIterator[None]:
    async with broker:
        await broker.declare_exchange(COMMANDS)
        await broker.start()
        yield


def ingress() -> FastAPI:
    app = FastAPI(lifespan=connected)

    async def publish(command: BaseModel, routing_key: str) -> dict[str, str]:
        message_id = str(uuid4())
        await broker.publish(command, exchange=COMMANDS, routing_key=routing_key, persist=True, message_id=message_id)
        return {"message_id": message_id, "status": "accepted"}

    @app.post("/api/commands/store_memory", status_code=202)
    async def store_memory(command: StoreMemory) -> dict[str, str]:
        return await publish(command, "memory.store")

    @app.post("/api/commands/log_action", status_code=202)
    async def log_action(command: LogAction) -> dict[str, str]:
        return await publish(command, "action.log")

    @app.post("/api/commands/batch", status_code=202)
    async def batch(commands: Batch) -> dict[str, str]:
        return await publish(commands, "batch.run")

    return app


def gateway() -> FastAPI:
    app, clients = FastAPI(lifespan=connected), list[WebSocket]()

    @broker.subscriber(FEED, EVENTS)
    async def on_event(event: dict[str, Any]) -> None:
        for client in clients:
            await client.send_json(event)

    @app.websocket("/ws")
    async def ws(client: WebSocket) -> None:
        await client.accept()
        clients.append(client)
        try:
            while True:
                await client.receive_text()
        except WebSocketDisconnect:
            clients.remove(client)

    return app


async def worker() -> None:
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"), pool_size=10)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)

    @broker.subscriber(QUEUE, COMMANDS)
    async def store_memory(command: StoreMemory) -> None:
        async with sessions.begin() as session:
            session.add(Memory(**command.model_dump()))
        event: Any = {"type": "memory_update", "message_id": str(uuid4()), "exchange": command.model_dump()}
        await broker.publish(event, exchange=EVENTS, routing_key=f"memory.{command.session_id}.updated", persist=True)

    async def publish(command: LogAction) -> None:
        event: Any = {"type": "action_logged", "message_id": str(uuid4()), "action": command.model_dump()}
        await broker.publish(event, exchange=EVENTS, routing_key=f"session.{command.session_id}.action", persist=True)

    @broker.subscriber(ACTIONS, COMMANDS)
    async def log_action(command: LogAction) -> None:
        async with sessions.begin() as session:
            session.add(Action(**command.model_dump()))
        await publish(command)

    @broker.subscriber(BATCHES, COMMANDS)
    async def batch(commands: Batch) -> None:
        async with sessions.begin() as session:
            session.add_all(Action(**command.model_dump()) for command in commands.commands)
        for command in commands.commands:
            await publish(command)

    await FastStream(broker).run()
    await engine.dispose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("ingress", "worker", "gateway"))
    parser.add_argument("--port", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.role == "worker":
        asyncio.run(worker())
    else:
        app = {"ingress": ingress, "gateway": gateway}[chosen.role]()
        uvicorn.run(app, port=chosen.port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
