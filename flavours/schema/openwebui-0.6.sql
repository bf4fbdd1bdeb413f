-- The tables of Open WebUI 0.6.43, as its migrations leave them: a fixture for tests and the demo.
-- Unqualified: loads into the first schema of search_path, on PostgreSQL 15 and later. Facts only; the application makes its own tables.

CREATE SEQUENCE config_id_seq AS integer;
CREATE SEQUENCE document_id_seq AS integer;
CREATE SEQUENCE migratehistory_id_seq AS integer;
CREATE SEQUENCE prompt_id_seq AS integer;

CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE api_key (
    id text NOT NULL,
    user_id text,
    key text NOT NULL,
    data json,
    expires_at bigint,
    last_used_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT api_key_key_key UNIQUE (key),
    CONSTRAINT api_key_pkey PRIMARY KEY (id)
);
CREATE TABLE auth (
    id varchar(255) NOT NULL,
    email varchar(255) NOT NULL,
    password text NOT NULL,
    active boolean NOT NULL
);
CREATE TABLE channel (
    id text NOT NULL,
    user_id text,
    name text,
    description text,
    data json,
    meta json,
    access_control json,
    created_at bigint,
    updated_at bigint,
    type text,
    is_private boolean,
    archived_at bigint,
    archived_by text,
    deleted_at bigint,
    deleted_by text,
    updated_by text,
    CONSTRAINT channel_pkey PRIMARY KEY (id)
);
CREATE TABLE channel_file (
    id text NOT NULL,
    user_id text NOT NULL,
    channel_id text NOT NULL,
    file_id text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    message_id text,
    CONSTRAINT channel_file_pkey PRIMARY KEY (id),
    CONSTRAINT uq_channel_file_channel_file UNIQUE (channel_id, file_id)
);
CREATE TABLE channel_member (
    id text NOT NULL,
    channel_id text NOT NULL,
    user_id text NOT NULL,
    created_at bigint,
    status text,
    is_active boolean DEFAULT true NOT NULL,
    is_channel_muted boolean DEFAULT false NOT NULL,
    is_channel_pinned boolean DEFAULT false NOT NULL,
    data json,
    meta json,
    joined_at bigint NOT NULL,
    left_at bigint,
    last_read_at bigint,
    updated_at bigint,
    role text,
    invited_by text,
    invited_at bigint,
    CONSTRAINT channel_member_pkey PRIMARY KEY (id)
);
CREATE TABLE channel_webhook (
    id text NOT NULL,
    user_id text NOT NULL,
    channel_id text NOT NULL,
    name text NOT NULL,
    profile_image_url text,
    token text NOT NULL,
    last_used_at bigint,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT channel_webhook_pkey PRIMARY KEY (id)
);
CREATE TABLE chat (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    title text NOT NULL,
    share_id varchar(255),
    archived boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    chat json,
    pinned boolean,
    meta json DEFAULT '{}' NOT NULL,
    folder_id text
);
CREATE TABLE chat_file (
    id text NOT NULL,
    user_id text NOT NULL,
    chat_id text NOT NULL,
    file_id text NOT NULL,
    message_id text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT chat_file_pkey PRIMARY KEY (id),
    CONSTRAINT uq_chat_file_chat_file UNIQUE (chat_id, file_id)
);
CREATE TABLE chatidtag (
    id varchar(255) NOT NULL,
    tag_name varchar(255) NOT NULL,
    chat_id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    "timestamp" bigint NOT NULL
);
CREATE TABLE config (
    id integer DEFAULT nextval('config_id_seq'::regclass) NOT NULL,
    data json NOT NULL,
    version integer NOT NULL,
    created_at timestamp DEFAULT now() NOT NULL,
    updated_at timestamp DEFAULT now(),
    CONSTRAINT config_pkey PRIMARY KEY (id)
);
CREATE TABLE document (
    id integer DEFAULT nextval('document_id_seq'::regclass) NOT NULL,
    collection_name varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    title text NOT NULL,
    filename text NOT NULL,
    content text,
    user_id varchar(255) NOT NULL,
    "timestamp" bigint NOT NULL,
    CONSTRAINT document_pkey PRIMARY KEY (id)
);
CREATE TABLE feedback (
    id text NOT NULL,
    user_id text,
    version bigint,
    type text,
    data json,
    meta json,
    snapshot json,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT feedback_pkey PRIMARY KEY (id)
);
CREATE TABLE file (
    id text NOT NULL,
    user_id text NOT NULL,
    filename text NOT NULL,
    meta json,
    created_at bigint NOT NULL,
    hash text,
    data json,
    updated_at bigint,
    path text,
    access_control json
);
CREATE TABLE folder (
    id text NOT NULL,
    parent_id text,
    user_id text NOT NULL,
    name text NOT NULL,
    items json,
    meta json,
    is_expanded boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    data json,
    CONSTRAINT folder_pkey PRIMARY KEY (id, user_id)
);
CREATE TABLE function (
    id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    content text NOT NULL,
    meta text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    valves text,
    is_active boolean NOT NULL,
    is_global boolean NOT NULL
);
CREATE TABLE "group" (
    id text NOT NULL,
    user_id text,
    name text,
    description text,
    data json,
    meta json,
    permissions json,
    created_at bigint,
    updated_at bigint,
    CONSTRAINT group_pkey PRIMARY KEY (id)
);
CREATE TABLE group_member (
    id text NOT NULL,
    group_id text NOT NULL,
    user_id text NOT NULL,
    created_at bigint,
    updated_at bigint,
    CONSTRAINT group_member_pkey PRIMARY KEY (id),
    CONSTRAINT uq_group_member_group_user UNIQUE (group_id, user_id)
);
CREATE TABLE knowledge (
    id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    description text,
    meta json,
    created_at bigint NOT NULL,
    updated_at bigint,
    access_control json,
    data json,
    CONSTRAINT knowledge_pkey PRIMARY KEY (id)
);
CREATE TABLE knowledge_file (
    id text NOT NULL,
    user_id text NOT NULL,
    knowledge_id text NOT NULL,
    file_id text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT knowledge_file_pkey PRIMARY KEY (id),
    CONSTRAINT uq_knowledge_file_knowledge_file UNIQUE (knowledge_id, file_id)
);
CREATE TABLE memory (
    id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    content text NOT NULL,
    updated_at bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE TABLE message (
    id text NOT NULL,
    user_id text,
    channel_id text,
    content text,
    data json,
    meta json,
    created_at bigint,
    updated_at bigint,
    parent_id text,
    reply_to_id text,
    is_pinned boolean DEFAULT false NOT NULL,
    pinned_at bigint,
    pinned_by text,
    CONSTRAINT message_pkey PRIMARY KEY (id)
);
CREATE TABLE message_reaction (
    id text NOT NULL,
    user_id text NOT NULL,
    message_id text NOT NULL,
    name text NOT NULL,
    created_at bigint,
    CONSTRAINT message_reaction_pkey PRIMARY KEY (id)
);
CREATE TABLE migratehistory (
    id integer DEFAULT nextval('migratehistory_id_seq'::regclass) NOT NULL,
    name varchar(255) NOT NULL,
    migrated_at timestamp NOT NULL,
    CONSTRAINT migratehistory_pkey PRIMARY KEY (id)
);
CREATE TABLE model (
    id text NOT NULL,
    user_id text NOT NULL,
    base_model_id text,
    name text NOT NULL,
    meta text NOT NULL,
    params text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    access_control json,
    is_active boolean DEFAULT true NOT NULL
);
CREATE TABLE note (
    id text NOT NULL,
    user_id text,
    title text,
    data json,
    meta json,
    access_control json,
    created_at bigint,
    updated_at bigint,
    CONSTRAINT note_pkey PRIMARY KEY (id)
);
CREATE TABLE oauth_session (
    id text NOT NULL,
    user_id text NOT NULL,
    provider text NOT NULL,
    token text NOT NULL,
    expires_at bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    CONSTRAINT oauth_session_pkey PRIMARY KEY (id)
);
CREATE TABLE prompt (
    id integer DEFAULT nextval('prompt_id_seq'::regclass) NOT NULL,
    command varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    title text NOT NULL,
    content text NOT NULL,
    "timestamp" bigint NOT NULL,
    access_control json,
    CONSTRAINT prompt_pkey PRIMARY KEY (id)
);
CREATE TABLE tag (
    id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    meta json,
    CONSTRAINT pk_id_user_id PRIMARY KEY (id, user_id)
);
CREATE TABLE tool (
    id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    content text NOT NULL,
    specs text NOT NULL,
    meta text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    valves text,
    access_control json
);
CREATE TABLE "user" (
    id varchar(255) NOT NULL,
    name varchar(255) NOT NULL,
    email varchar(255) NOT NULL,
    role varchar(255) NOT NULL,
    profile_image_url text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    last_active_at bigint NOT NULL,
    settings json,
    info json,
    username varchar(50),
    bio text,
    gender text,
    date_of_birth date,
    profile_banner_image_url text,
    timezone varchar,
    presence_state varchar,
    status_emoji varchar,
    status_message text,
    status_expires_at bigint,
    oauth json,
    CONSTRAINT pk_user_id PRIMARY KEY (id),
    CONSTRAINT uq_user_id UNIQUE (id)
);

ALTER SEQUENCE config_id_seq OWNED BY config.id;
ALTER SEQUENCE document_id_seq OWNED BY document.id;
ALTER SEQUENCE migratehistory_id_seq OWNED BY migratehistory.id;
ALTER SEQUENCE prompt_id_seq OWNED BY prompt.id;

CREATE UNIQUE INDEX auth_id ON auth (id);
CREATE UNIQUE INDEX chat_id ON chat (id);
CREATE UNIQUE INDEX chat_share_id ON chat (share_id);
CREATE UNIQUE INDEX chatidtag_id ON chatidtag (id);
CREATE UNIQUE INDEX document_collection_name ON document (collection_name);
CREATE UNIQUE INDEX document_name ON document (name);
CREATE UNIQUE INDEX file_id ON file (id);
CREATE INDEX folder_id_idx ON chat (folder_id);
CREATE INDEX folder_id_user_id_idx ON chat (folder_id, user_id);
CREATE UNIQUE INDEX function_id ON function (id);
CREATE INDEX idx_oauth_session_expires_at ON oauth_session (expires_at);
CREATE INDEX idx_oauth_session_user_id ON oauth_session (user_id);
CREATE INDEX idx_oauth_session_user_provider ON oauth_session (user_id, provider);
CREATE INDEX is_global_idx ON function (is_global);
CREATE INDEX ix_channel_file_channel_id ON channel_file (channel_id);
CREATE INDEX ix_channel_file_file_id ON channel_file (file_id);
CREATE INDEX ix_channel_file_user_id ON channel_file (user_id);
CREATE INDEX ix_chat_file_chat_id ON chat_file (chat_id);
CREATE INDEX ix_chat_file_file_id ON chat_file (file_id);
CREATE INDEX ix_chat_file_message_id ON chat_file (message_id);
CREATE INDEX ix_chat_file_user_id ON chat_file (user_id);
CREATE INDEX ix_knowledge_file_file_id ON knowledge_file (file_id);
CREATE INDEX ix_knowledge_file_knowledge_id ON knowledge_file (knowledge_id);
CREATE INDEX ix_knowledge_file_user_id ON knowledge_file (user_id);
CREATE UNIQUE INDEX memory_id ON memory (id);
CREATE UNIQUE INDEX model_id ON model (id);
CREATE UNIQUE INDEX prompt_command ON prompt (command);
CREATE UNIQUE INDEX tool_id ON tool (id);
CREATE INDEX updated_at_user_id_idx ON chat (updated_at, user_id);
CREATE UNIQUE INDEX user_id ON "user" (id);
CREATE INDEX user_id_archived_idx ON chat (user_id, archived);
CREATE INDEX user_id_idx ON tag (user_id);
CREATE INDEX user_id_pinned_idx ON chat (user_id, pinned);

ALTER TABLE api_key ADD CONSTRAINT api_key_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE;
ALTER TABLE channel_file ADD CONSTRAINT channel_file_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channel(id) ON DELETE CASCADE;
ALTER TABLE channel_file ADD CONSTRAINT channel_file_file_id_fkey FOREIGN KEY (file_id) REFERENCES file(id) ON DELETE CASCADE;
ALTER TABLE channel_webhook ADD CONSTRAINT channel_webhook_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channel(id) ON DELETE CASCADE;
ALTER TABLE chat_file ADD CONSTRAINT chat_file_chat_id_fkey FOREIGN KEY (chat_id) REFERENCES chat(id) ON DELETE CASCADE;
ALTER TABLE chat_file ADD CONSTRAINT chat_file_file_id_fkey FOREIGN KEY (file_id) REFERENCES file(id) ON DELETE CASCADE;
ALTER TABLE channel_file ADD CONSTRAINT fk_channel_file_message_id FOREIGN KEY (message_id) REFERENCES message(id) ON DELETE CASCADE;
ALTER TABLE group_member ADD CONSTRAINT group_member_group_id_fkey FOREIGN KEY (group_id) REFERENCES "group"(id) ON DELETE CASCADE;
ALTER TABLE group_member ADD CONSTRAINT group_member_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE;
ALTER TABLE knowledge_file ADD CONSTRAINT knowledge_file_file_id_fkey FOREIGN KEY (file_id) REFERENCES file(id) ON DELETE CASCADE;
ALTER TABLE knowledge_file ADD CONSTRAINT knowledge_file_knowledge_id_fkey FOREIGN KEY (knowledge_id) REFERENCES knowledge(id) ON DELETE CASCADE;
ALTER TABLE oauth_session ADD CONSTRAINT oauth_session_user_id_fkey FOREIGN KEY (user_id) REFERENCES "user"(id) ON DELETE CASCADE;
