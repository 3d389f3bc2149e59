"""The whole of the task queue: what tasks wait for, who may claim them and in which order.

What each column, table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table task_queues (
            id           integer generated always as identity primary key,
            agent_name   text not null,
            capabilities text[] not null default '{}',
            constraint task_queues_once unique (agent_name, capabilities)
        );
        -- Kept as it was written, as other JSON is.
        alter table agents alter column metadata drop default;
        alter table agents alter column metadata type json using metadata::json;

        insert into task_queues (agent_name) select name from agents;
        insert into task_queues (agent_name) select distinct agent_name from tasks on conflict do nothing;

        create table task_dependencies (
            depends_on text not null,
            task_id    text not null references tasks (id) on delete cascade,
            primary key (depends_on, task_id)
        );
        create index task_dependencies_by_task on task_dependencies (task_id);
    """)
    op.execute("""
        alter table tasks
            add column queue           integer,
            add column claimable       boolean not null default false,
            add column turn            bigint not null default 0,
            add column queued          timestamptz not null default now(),
            add column due             timestamptz,
            add column run_at          timestamptz,
            add column timeout_s       float8,
            add column deadline        timestamptz,
            add column depends_on      text[] not null default '{}',
            add column capabilities    text[] not null default '{}',
            add column cron            text,
            add column schedule_id     text,
            add column idempotency_key text,
            add column fingerprint     bytea,
            add column callback_url    text;
        update tasks set queue = task_queues.id, claimable = status = 'pending', queued = created
        from task_queues where task_queues.agent_name = tasks.agent_name;
        alter table tasks
            alter column queue set not null,
            add constraint tasks_claimable check (not claimable or status = 'pending');

        drop index tasks_queue, tasks_leases;
        create index tasks_queue on tasks (queue, priority, turn, queued) where claimable;
        create index tasks_turns on tasks (queue, priority, session_id, turn, queued) where claimable;
        create index tasks_in_hand on tasks (agent_name, lease_expires) where lease_expires is not null;
        create index tasks_due on tasks (due) where due is not null;
        create unique index tasks_once on tasks (session_id, agent_name, idempotency_key)
            where idempotency_key is not null;
    """)


def downgrade() -> None:
    op.execute("""
        drop index tasks_queue, tasks_turns, tasks_in_hand, tasks_due, tasks_once;
        alter table tasks
            drop constraint tasks_claimable,
            drop column queue,
            drop column claimable,
            drop column turn,
            drop column queued,
            drop column due,
            drop column run_at,
            drop column timeout_s,
            drop column deadline,
            drop column depends_on,
            drop column capabilities,
            drop column cron,
            drop column schedule_id,
            drop column idempotency_key,
            drop column fingerprint,
            drop column callback_url;
        create index tasks_queue on tasks (agent_name, priority desc, created) where status = 'pending';
        create index tasks_leases on tasks (lease_expires) where status in ('claimed', 'running');
        drop table task_dependencies, task_queues;
        alter table agents alter column metadata drop default;
        alter table agents alter column metadata type jsonb using metadata::jsonb;
        alter table agents alter column metadata set default '{}';
    """)
