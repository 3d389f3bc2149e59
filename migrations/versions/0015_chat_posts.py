"""What the doors of chats need: how far a post has come, and the messages that grow while an answer is given."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table chat_posts
            add column part smallint not null default 0,
            add column unsure boolean not null default false,
            add column message_ref text,
            add column ended timestamptz,
            add column ends boolean not null default false
    """)
    op.execute("drop index chat_posts_waiting")
    op.execute("""
        create index chat_posts_waiting on chat_posts (partition, room_id, bot_id, post_id) where status = 'waiting'
    """)
    op.execute("""
        create index chat_posts_last on chat_posts (room_id, bot_id, post_id) where message_ref is not null
    """)
    op.execute("alter table turns add column called_back boolean not null default false")
    op.execute("""
        create index turns_to_call_back on turns (partition)
        where reply_to like 'callback:%' and status in ('dropped', 'merged') and not called_back
    """)
    op.execute("""
        create table chat_drafts (
            turn_id text primary key references turns (turn_id) on delete cascade,
            message_ref text,
            created timestamptz not null default now()
        )
    """)


def downgrade() -> None:
    op.execute("drop table chat_drafts")
    op.execute("drop index turns_to_call_back")
    op.execute("alter table turns drop column called_back")
    op.execute("drop index chat_posts_last")
    op.execute("drop index chat_posts_waiting")
    op.execute("create index chat_posts_waiting on chat_posts (partition, post_id) where status = 'waiting'")
    op.execute("""
        alter table chat_posts drop column ends, drop column ended, drop column message_ref, drop column unsure,
            drop column part
    """)
