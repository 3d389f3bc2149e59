"""`switchyard tasks`: the queue of work for agents."""

import json as jsons
from typing import Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, OfSession, Yes
from cli.screen import EXIT_CODES, confirm, err, fail, out

app = typer.Typer(
    name="tasks",
    help="List tasks, look at one, put one into the queue, take one, cancel it or have it tried again.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard tasks ls` lists those there are."
STATUSES = "pending, claimed, running, completed, failed, cancelled or dead"

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id.")]


@app.command(epilog=EXIT_CODES)
def ls(
    session: OfSession = None,
    agent: Annotated[str | None, typer.Option("--agent", "-a", help="Only those for this agent.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Only those that are {STATUSES}.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List tasks, the newest first.

    Example: `switchyard tasks ls --session demo --status pending`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("TASK", "task_id", whole=True),
        Column("STATUS", "status", whole=True),
        Column("AGENT", "agent_name"),
        Column("TYPE", "task_type"),
        Column("PRIO", "priority", whole=True, right=True, spare=3),
        Column("TRY", lambda task: f"{task['attempt']}/{task['max_attempts']}", whole=True, right=True, spare=2),
        Column("SESSION", "session_id", whole=True, spare=4),
        Column("ERROR", "error_message", spare=5),
        Column("CREATED", "created", whole=True, spare=1),
    ]
    wanted = given(session_id=session, agent_name=agent, status=status)
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("list_tasks", given(**wanted, limit=size, cursor=after)),
            "tasks",
            columns,
            Paging(limit, cursor, all, json),
            empty="There is no such task." if wanted else "There is no task yet.",
        )


@app.command(epilog=EXIT_CODES)
def show(task: TaskId, json: AsJson = False) -> None:
    """Show one task with what it was given and what came of it.

    Example: `switchyard tasks show 0199e1f4-6c2a-7d41-9f0e-3b8f5a7c2d10`
    """
    from cli.pages import print_json
    from cli.tables import member, print_card

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("get_task", {"task_id": task})
    if json:
        print_json(text)
        return
    print_card(
        member(text, "task"),
        first=("task_id", "session_id", "status", "agent_name", "task_type", "description"),
        blocks=("input_data", "output_data", "error_message"),
    )


@app.command(epilog=EXIT_CODES)
def add(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session it belongs to.")],
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Who is to do it.")],
    type: Annotated[str, typer.Argument(metavar="TYPE", help="What kind of work it is.")],
    description: Annotated[str | None, typer.Option("--description", "-d", help="What is to be done.")] = None,
    input: Annotated[str | None, typer.Option("--input", help="What the agent is given, as JSON.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, help="0 to 9; higher ones are taken first.")] = None,
    attempts: Annotated[int | None, typer.Option(min=1, help="How often it is tried before it is dead.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds it may run.")] = None,
    after: Annotated[list[str] | None, typer.Option(help="Only once this task is done; may be given again.")] = None,
    capability: Annotated[list[str] | None, typer.Option(help="What its worker must be able to do.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Not before, as 2026-01-31T12:00:00Z.")] = None,
    cron: Annotated[str | None, typer.Option(help="Again and again, as '0 7 * * 1-5'.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again gives the same task.")] = None,
    json: AsJson = False,
) -> None:
    """Put a task into an agent's queue.

    Example: `switchyard tasks add demo researcher summarize -d 'Sum up the thread' --input '{"pages": 3}' --priority 7`
    """
    from cli.pages import print_json
    from cli.verbatim import data_of, json_value

    try:
        data = data_of(
            given(
                session_id=session,
                agent_name=agent,
                task_type=type,
                description=description,
                input_data=None if input is None else json_value(input, "--input"),
                priority=priority,
                max_attempts=attempts,
                timeout_s=timeout,
                depends_on=after,
                capabilities=capability,
                run_at=run_at,
                cron=cron,
                idempotency_key=idempotency_key,
            )
        )
    except ValueError as error:
        fail(str(error), 2)
    with calling(as_json=json, missing="`switchyard sessions ls` lists the sessions there are.") as client:
        text = client.result("delegate_task", data)
    if json:
        print_json(text)
        return
    task = jsons.loads(text)["task"]
    out.print(f"Task {task['task_id']} for {task['agent_name']} is {task['status']}.", markup=False)


@app.command(epilog=EXIT_CODES)
def claim(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Whose queue to take from.")],
    worker: Annotated[str | None, typer.Option(help="Who takes it; else this machine and process.")] = None,
    count: Annotated[int, typer.Option(min=1, max=50, help="How many at most.")] = 1,
    wait: Annotated[float, typer.Option(min=0, max=30, help="Seconds to wait for one.")] = 0,
    capability: Annotated[list[str] | None, typer.Option(help="What the worker can do; may be given again.")] = None,
    json: AsJson = False,
) -> None:
    """Take the next tasks of an agent's queue, each with the token of a lease of 60 s.

    What became of it is sent with `switchyard send complete_task` or `fail_task`.

    Example: `switchyard tasks claim researcher --worker laptop`
    """
    import os
    import socket

    from cli.pages import print_json
    from cli.tables import items, print_card

    data = given(
        agent_name=agent,
        worker_id=worker or f"{socket.gethostname()}-{os.getpid()}",
        count=count,
        wait_s=wait or None,
        capabilities=capability,
    )
    with calling(as_json=json) as client:
        text = client.result("claim_task", data, wait_s=wait + 10)
    if json:
        print_json(text)
        return
    tasks = items(text, "tasks")
    if not tasks:
        err.print(f"Nothing waits for {agent}.", style="dim", markup=False)
    for task in tasks:
        print_card(
            task,
            first=("task_id", "lease_token", "lease_expires", "session_id", "task_type", "description"),
            blocks=("input_data",),
        )


@app.command(epilog=EXIT_CODES)
def cancel(
    task: TaskId,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the task.")] = None,
    yes: Yes = False,
    json: AsJson = False,
) -> None:
    """Cancel a task that is not done yet.

    Example: `switchyard tasks cancel 0199e1f4-6c2a-7d41-9f0e-3b8f5a7c2d10 --yes`
    """
    confirm(f"cancel task {task}", yes=yes)
    _do("cancel_task", json, task_id=task, reason=reason)


@app.command(epilog=EXIT_CODES)
def retry(task: TaskId, json: AsJson = False) -> None:
    """Put a dead or failed task back into the queue.

    Example: `switchyard tasks retry 0199e1f4-6c2a-7d41-9f0e-3b8f5a7c2d10`
    """
    _do("retry_task", json, task_id=task)


def _do(command: str, json: bool, **data: Any) -> None:
    from cli.pages import print_json

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result(command, given(**data))
    if json:
        print_json(text)
        return
    task = jsons.loads(text)["task"]
    out.print(f"Task {task['task_id']} is {task['status']}.", markup=False)
