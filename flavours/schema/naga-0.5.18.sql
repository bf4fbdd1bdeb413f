-- The tables of the NAGA fork of Open WebUI 0.5.18, as its migrations leave them: a fixture for tests and the demo.
-- Unqualified: loads into the first schema of search_path, on PostgreSQL 15 and later. Facts only; the application makes its own tables.

CREATE SEQUENCE config_id_seq AS integer;
CREATE SEQUENCE document_id_seq AS integer;
CREATE SEQUENCE migratehistory_id_seq AS integer;
CREATE SEQUENCE prompt_id_seq AS integer;

CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
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
    CONSTRAINT channel_pkey PRIMARY KEY (id)
);
CREATE TABLE channel_member (
    id text NOT NULL,
    channel_id text NOT NULL,
    user_id text NOT NULL,
    created_at bigint,
    CONSTRAINT channel_member_pkey PRIMARY KEY (id)
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
CREATE TABLE chatidtag (
    id varchar(255) NOT NULL,
    tag_name varchar(255) NOT NULL,
    chat_id varchar(255) NOT NULL,
    user_id varchar(255) NOT NULL,
    "timestamp" bigint NOT NULL
);
CREATE TABLE config (
    id integer DEFAULT nextval('config_id_seq'::regclass) NOT NULL,
    email varchar DEFAULT 'system@default' NOT NULL,
    data json NOT NULL,
    version integer NOT NULL,
    created_at timestamp DEFAULT now() NOT NULL,
    updated_at timestamp DEFAULT now(),
    CONSTRAINT _email_version_uc UNIQUE (email, version),
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
    CONSTRAINT folder_pkey PRIMARY KEY (id, user_id)
);
CREATE TABLE function (
    id text NOT NULL,
    user_id text NOT NULL,
    created_by text NOT NULL,
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
    created_by text,
    name text,
    description text,
    data json,
    meta json,
    permissions json,
    user_ids json,
    created_at bigint,
    updated_at bigint,
    CONSTRAINT group_pkey PRIMARY KEY (id)
);
CREATE TABLE knowledge (
    id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    description text,
    data json,
    meta json,
    created_at bigint NOT NULL,
    updated_at bigint,
    access_control json,
    CONSTRAINT knowledge_pkey PRIMARY KEY (id)
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
    created_by text NOT NULL,
    base_model_id text,
    name text NOT NULL,
    meta text NOT NULL,
    params text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    access_control json,
    is_active boolean DEFAULT true NOT NULL
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
    created_by text NOT NULL,
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
    api_key varchar(255),
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    last_active_at bigint NOT NULL,
    settings text,
    info text,
    oauth_sub text
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
CREATE UNIQUE INDEX function_id ON function (id);
CREATE UNIQUE INDEX memory_id ON memory (id);
CREATE UNIQUE INDEX model_id ON model (id);
CREATE UNIQUE INDEX prompt_command ON prompt (command);
CREATE UNIQUE INDEX tool_id ON tool (id);
CREATE UNIQUE INDEX user_api_key ON "user" (api_key);
CREATE UNIQUE INDEX user_id ON "user" (id);
CREATE UNIQUE INDEX user_oauth_sub ON "user" (oauth_sub);
