"""Memories that are forgotten, told of together, and recognised when they come back.

Vectors are not made here: see shared/database/tables/memories.py.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table memories
            add column content_hash bigint,
            add column told_version integer,
            add column told_at      timestamptz,
            add column cause        json,
            add column forgotten    json;
        create index memories_by_content on memories (content_hash) where content_hash is not null;
        create index memories_to_tell on memories (told_at) where told_version is not null;
        create index memories_by_type on memories (type, updated desc, session_id desc, key desc);

        alter table memory_versions
            add column forgotten json,
            add column search tsvector generated always as (
                case when octet_length(content::text) <= 300000 then to_tsvector('english'::regconfig, content)
                else to_tsvector('english'::regconfig, left(content::text, 75000)) end
            ) stored;
        create index memory_versions_search on memory_versions using gin (search);
        create index memory_versions_newest on memory_versions (updated desc, session_id desc, key desc);
    """)


def downgrade() -> None:
    op.execute("""
        drop table if exists memory_embeddings, memory_embedder;
        drop index memory_versions_newest, memory_versions_search;
        alter table memory_versions drop column search, drop column forgotten;
        drop index memories_by_type, memories_to_tell, memories_by_content;
        alter table memories drop column forgotten, drop column cause, drop column told_at, drop column told_version,
            drop column content_hash;
    """)
