"""The first tables: sessions and what belongs to them, memories, tasks, deliveries, the event log and its bookkeeping.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from datetime import UTC, datetime, timedelta

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

DAYS_BEFORE, DAYS_AHEAD = 1, 14


def upgrade() -> None:
    bus()
    sessions()
    deliveries()
    events()
    dead_letters_and_keys()
    memories()
    tasks()


def downgrade() -> None:
    op.execute("""
        drop table tasks, agents, memory_versions, memories, api_keys, dead_letters, event_log, events, deliveries,
            artifacts, conversation_chunks, session_transitions, sessions, handled_messages
    """)


def bus() -> None:
    op.execute("""
        create table handled_messages (
            message_id  text primary key,
            command     text not null,
            fingerprint bytea,
            reply       text not null,
            events      text,
            handled_at  timestamptz not null default now(),
            expires_at  timestamptz not null
        ) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);
        create index handled_messages_expiry on handled_messages (expires_at);
    """)


def sessions() -> None:
    op.execute("""
        create table sessions (
            id            text primary key,
            title         text,
            user_id       text,
            participants  jsonb not null default '[]',
            status        text not null default 'active',
            initial       json,
            created       timestamptz not null default now(),
            last_activity timestamptz not null default now(),
            conversation_chunk_count integer not null default 0,
            memory_count             integer not null default 0,
            task_count               integer not null default 0,
            artifact_count           integer not null default 0,
            seq           bigint not null default 0,
            constraint sessions_status check (status in ('active', 'paused', 'completed', 'failed', 'archived'))
        ) with (fillfactor = 60);
        create index sessions_by_activity on sessions (last_activity desc, id desc);
        create index sessions_by_status on sessions (status, last_activity desc, id desc);

        create table session_transitions (
            id          bigint generated always as identity primary key,
            session_id  text not null references sessions (id) on delete cascade,
            from_status text,
            to_status   text not null,
            by_agent    text not null,
            reason      text,
            message_id  text not null,
            at          timestamptz not null default now()
        );
        create index session_transitions_by_session on session_transitions (session_id, id);

        create table conversation_chunks (
            session_id      text not null references sessions (id) on delete cascade,
            chunk_id        text not null,
            content         text not null,
            format          text not null,
            extracted_items json not null,
            metadata        json not null,
            message_id      text not null,
            created         timestamptz not null default now(),
            search          tsvector generated always as (
                to_tsvector('english'::regconfig, left(content, 100000))
            ) stored,
            primary key (session_id, chunk_id)
        );
        create index conversation_chunks_search on conversation_chunks using gin (search);
        create index conversation_chunks_by_session on conversation_chunks (session_id, created);

        create table artifacts (
            session_id  text not null references sessions (id) on delete cascade,
            artifact_id text not null,
            name        text not null,
            type        text not null,
            content     text not null,
            format      text,
            metadata    json not null,
            created     timestamptz not null default now(),
            search      tsvector generated always as (
                to_tsvector('english'::regconfig, left(content, 100000))
            ) stored,
            primary key (session_id, artifact_id)
        );
        create index artifacts_search on artifacts using gin (search);
    """)


def deliveries() -> None:
    op.execute("""
        create table deliveries (
            message_id  text primary key,
            source      text not null,
            delivery_id text not null,
            event       text not null,
            action      text,
            payload     json not null,
            received    timestamptz not null default now()
        );
        create index deliveries_by_delivery on deliveries (delivery_id);
        create index deliveries_newest on deliveries (received desc, message_id desc);
        create index deliveries_newest_of_source on deliveries (source, received desc, message_id desc);
    """)


def events() -> None:
    op.execute("""
        create table events (
            cursor      bigint not null,
            timestamp   timestamptz not null,
            message_id  text not null,
            type        text not null,
            routing_key text not null,
            session_id  text,
            session_seq bigint,
            body        json not null,
            primary key (cursor, timestamp)
        ) partition by range (timestamp);
        create unique index events_once on events (message_id, timestamp);
        create index events_by_session on events (session_id, session_seq) where session_id is not null;

        -- Whatever day an event claims to be of, there is a place for it.
        create table events_default partition of events default;

        create table event_log (
            singleton  boolean primary key default true,
            epoch      text not null,
            base       bigint not null,
            checkpoint bigint not null,
            began      timestamptz not null default now(),
            announced  boolean not null default true,
            changed    timestamptz not null default now(),
            constraint event_log_one_row check (singleton)
        );
        insert into event_log (epoch, base, checkpoint) values (gen_random_uuid()::text, 1, 0);
    """)
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=n) for n in range(-DAYS_BEFORE, DAYS_AHEAD + 1)]
    op.execute(
        "\n".join(
            f"create table events_{day:%Y%m%d} partition of events"
            f" for values from ('{day} 00:00:00+00') to ('{day + timedelta(days=1)} 00:00:00+00');"
            for day in days
        )
    )


def dead_letters_and_keys() -> None:
    op.execute("""
        create table dead_letters (
            id               bigint generated always as identity primary key,
            letter_key       text not null unique,
            message_id       text,
            exchange         text not null,
            routing_key      text not null,
            reason           text not null,
            headers          jsonb not null default '{}',
            body             bytea not null,
            content_encoding text,
            attempts         integer not null default 0,
            created          timestamptz not null default now(),
            redrive_due      timestamptz,
            redriven         timestamptz
        );
        create index dead_letters_by_message on dead_letters (message_id) where redriven is null;
        create index dead_letters_to_redrive on dead_letters (redrive_due) where redrive_due is not null;

        create table api_keys (
            name            text primary key,
            key_hash        bytea not null unique,
            scopes          text[] not null,
            sessions        text[],
            topics          text[],
            rate_per_minute integer,
            created         timestamptz not null default now(),
            revoked         timestamptz
        );
    """)


def memories() -> None:
    op.execute("""
        create table memories (
            session_id text not null references sessions (id) on delete cascade,
            key        text not null,
            type       text not null,
            content    json not null,
            tags       text[] not null default '{}',
            version    integer not null default 1,
            author     text not null,
            message_id text not null,
            created    timestamptz not null default now(),
            updated    timestamptz not null default now(),
            search     tsvector generated always as (
                case when octet_length(content::text) <= 300000 then to_tsvector('english'::regconfig, content)
                else to_tsvector('english'::regconfig, left(content::text, 75000)) end
            ) stored,
            primary key (session_id, key)
        );
        create index memories_search on memories using gin (search);
        create index memories_tags on memories using gin (tags);
        create index memories_by_session on memories (session_id, updated desc, key desc);
        create index memories_newest on memories (updated desc, session_id desc, key desc);

        create table memory_versions (
            session_id text not null references sessions (id) on delete cascade,
            key        text not null,
            version    integer not null,
            type       text not null,
            content    json not null,
            tags       text[] not null,
            author     text not null,
            message_id text not null,
            created    timestamptz not null,
            updated    timestamptz not null,
            replaced   timestamptz not null,
            primary key (session_id, key, version)
        );
    """)


def tasks() -> None:
    op.execute("""
        create table agents (
            name           text primary key,
            type           text not null,
            command        text not null,
            capabilities   jsonb not null default '[]',
            max_concurrent integer not null default 1,
            status         text not null default 'available',
            last_heartbeat timestamptz,
            metadata       jsonb not null default '{}'
        );
        insert into agents (name, type, command, capabilities, max_concurrent, metadata) values
            ('claude_code', 'code_generator', 'claude', '["code_generation", "code_modification"]', 0,
             '{"description": "Code generation and modification"}'),
            ('codex', 'code_analyzer', 'codex', '["code_analysis", "documentation"]', 0,
             '{"description": "Code analysis and documentation"}'),
            ('researcher', 'researcher', 'researcher', '["web_research", "information_gathering"]', 0,
             '{"description": "Web research and information gathering"}');

        create table tasks (
            id            text primary key,
            session_id    text not null references sessions (id) on delete cascade,
            agent_name    text not null,
            task_type     text not null,
            description   text,
            priority      integer not null default 5,
            status        text not null default 'pending',
            input_data    json,
            output_data   json,
            error_message text,
            attempt       integer not null default 0,
            max_attempts  integer not null default 3,
            claimed_by    text,
            lease_token   text,
            lease_expires timestamptz,
            created       timestamptz not null default now(),
            started       timestamptz,
            completed     timestamptz,
            constraint tasks_priority check (priority between 0 and 9),
            constraint tasks_status check (
                status in ('pending', 'claimed', 'running', 'completed', 'failed', 'cancelled', 'dead')
            )
        ) with (fillfactor = 80);
        create index tasks_queue on tasks (agent_name, priority desc, created) where status = 'pending';
        create index tasks_leases on tasks (lease_expires) where status in ('claimed', 'running');
        create index tasks_by_session on tasks (session_id, created desc);
        create index tasks_newest on tasks (created desc, id desc);
    """)
