"""Bots in chat rooms: chats, turns, transcripts, approvals, usage, and who runs which partition.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table chats (
            room_id        text not null,
            bot_id         text not null,
            last_turn      bigint not null default 0,
            conversation   integer not null default 1,
            claude_session text,
            idle_minutes   double precision,
            keep_days      double precision,
            created        timestamptz not null default now(),
            last_activity  timestamptz not null default now(),
            primary key (room_id, bot_id)
        ) with (fillfactor = 80)
    """)
    op.execute("create index chats_by_activity on chats (last_activity)")
    op.execute("""
        create table turns (
            turn_id         text primary key,
            room_id         text not null,
            bot_id          text not null,
            partition       smallint not null,
            number          bigint not null,
            status          text not null constraint turns_status check (
                status in ('queued', 'running', 'parked', 'answered', 'failed', 'merged', 'dropped')
            ),
            message_id      text not null,
            sender_agent_id text not null,
            hops            integer not null,
            trust           text not null,
            traceparent     text,
            user_name       text not null,
            user_id         text,
            room_name       text,
            text            text not null,
            reply_to        text,
            attempt         integer not null default 0,
            failures        integer not null default 0,
            epoch           bigint,
            answer          text,
            path            text,
            reason          text,
            merged_into     text,
            busy_told       boolean not null default false,
            input_tokens    bigint not null default 0,
            output_tokens   bigint not null default 0,
            cost_usd        double precision not null default 0,
            waited_ms       double precision,
            connect_ms      double precision,
            answer_ms       double precision,
            queued          timestamptz not null default now(),
            started         timestamptz,
            completed       timestamptz,
            foreign key (room_id, bot_id) references chats (room_id, bot_id) on delete cascade
        ) with (fillfactor = 80)
    """)
    op.execute("create unique index turns_of_chat on turns (room_id, bot_id, number)")
    op.execute("""
        create index turns_open on turns (partition, room_id, bot_id, number)
        where status in ('queued', 'running', 'parked')
    """)
    op.execute("create index turns_newest on turns (queued desc, turn_id desc)")
    op.execute("""
        create table chat_transcripts (
            number         bigint primary key generated always as identity,
            project_key    text not null,
            claude_session text not null,
            subpath        text not null default '',
            uuid           text,
            entry          json not null,
            written        timestamptz not null default now()
        )
    """)
    op.execute("""
        create index chat_transcripts_in_order on chat_transcripts (claude_session, project_key, subpath, number)
    """)
    op.execute("""
        create unique index chat_transcripts_once on chat_transcripts (claude_session, project_key, subpath, uuid)
        where uuid is not null
    """)
    op.execute("""
        create table chat_approvals (
            approval_id text primary key,
            turn_id     text not null references turns (turn_id) on delete cascade,
            room_id     text not null,
            bot_id      text not null,
            tool        text not null,
            tool_use_id text not null,
            input       json not null,
            status      text not null default 'pending' constraint chat_approvals_status check (
                status in ('pending', 'approved', 'denied', 'expired')
            ),
            decided_by  text,
            note        text,
            created     timestamptz not null default now(),
            expires     timestamptz not null,
            decided     timestamptz
        )
    """)
    op.execute("create unique index chat_approvals_once on chat_approvals (turn_id, tool_use_id)")
    op.execute("create index chat_approvals_pending on chat_approvals (expires) where status = 'pending'")
    op.execute("create index chat_approvals_newest on chat_approvals (created desc, approval_id desc)")
    op.execute("""
        create table chat_usage (
            day           date not null,
            bot_id        text not null,
            room_id       text not null,
            turns         integer not null default 0,
            input_tokens  bigint not null default 0,
            output_tokens bigint not null default 0,
            cost_usd      double precision not null default 0,
            warned        boolean not null default false,
            primary key (day, bot_id, room_id)
        )
    """)
    op.execute("""
        create table chat_switches (
            bot_id      text primary key,
            switched_by text not null,
            reason      text,
            at          timestamptz not null default now()
        )
    """)
    op.execute("""
        create table chat_posts (
            post_id    bigint primary key generated always as identity,
            turn_id    text not null references turns (turn_id) on delete cascade,
            room_id    text not null,
            bot_id     text not null,
            partition  smallint not null,
            reply_to   text not null,
            text       text not null,
            attempts   integer not null default 0,
            status     text not null default 'waiting' constraint chat_posts_status check (
                status in ('waiting', 'sent', 'given_up')
            ),
            last_error text,
            created    timestamptz not null default now(),
            due        timestamptz not null default now()
        )
    """)
    op.execute("create index chat_posts_waiting on chat_posts (partition, post_id) where status = 'waiting'")
    op.execute("""
        create table chat_workers (
            worker_id text primary key,
            seen      timestamptz not null default now(),
            leaving   boolean not null default false,
            status    json
        )
    """)
    op.execute("""
        create table chat_partitions (
            partition smallint primary key,
            owner     text,
            epoch     bigint not null default 0,
            lease     timestamptz
        )
    """)
    op.execute("insert into chat_partitions (partition) select generate_series(0, 15)")


def downgrade() -> None:
    for table in (
        "chat_partitions",
        "chat_workers",
        "chat_posts",
        "chat_switches",
        "chat_usage",
        "chat_approvals",
        "chat_transcripts",
        "turns",
        "chats",
    ):
        op.execute(f"drop table {table}")
