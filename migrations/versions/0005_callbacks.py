"""Callbacks and their attempts."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table callbacks (
            id           text primary key,
            type         text not null,
            url          text not null,
            body         text,
            message_id   text not null,
            task_id      text,
            status       text not null default 'pending',
            attempts     integer not null default 0,
            next_attempt timestamptz default now(),
            created      timestamptz not null default now(),
            finished     timestamptz,
            constraint callbacks_status check (status in ('pending', 'delivered', 'refused', 'gone', 'failed'))
        ) with (fillfactor = 80);
        create index callbacks_due on callbacks (next_attempt) where status = 'pending';
        create index callbacks_finished on callbacks (finished) where finished is not null;
        create index callbacks_newest on callbacks (created desc, id desc);
        create index callbacks_by_status on callbacks (status, created desc, id desc);
        create index callbacks_by_message on callbacks (message_id, created desc, id desc);
        create index callbacks_by_task on callbacks (task_id, created desc, id desc) where task_id is not null;

        create table callback_attempts (
            callback_id text not null references callbacks (id) on delete cascade,
            number      integer not null,
            started     timestamptz not null default now(),
            status      integer,
            error       text,
            response    text,
            ms          integer,
            primary key (callback_id, number)
        );
    """)


def downgrade() -> None:
    op.execute("drop table callback_attempts, callbacks")
