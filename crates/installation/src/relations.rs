//! Tables and sequences of PROTOCOL §2, and their first rows.
//!
//! A relation is right when name, kind, persistence and columns are; one that differs is not altered but reported, because
//! it belongs to another version of the protocol.

/// A table or a sequence of ours.
pub(crate) struct Relation {
    pub(crate) name: &'static str,
    /// `r` for a table, `S` for a sequence, as in `pg_class.relkind`.
    pub(crate) kind: &'static str,
    /// `p` permanent, `u` unlogged, as in `pg_class.relpersistence`.
    pub(crate) persistence: &'static str,
    /// Columns as the inspection prints them; empty for sequences.
    pub(crate) columns: &'static str,
    /// Statements that make it.
    pub(crate) create: &'static [&'static str],
}

/// All relations, in the order in which they are made.
pub(crate) const RELATIONS: [Relation; 11] = [
    Relation {
        name: "tag",
        kind: "r",
        persistence: "p",
        columns: "xid xid8, tag text",
        // Collation "C": cheaper to keep in order, and never changed under us by an upgrade of the C library.
        create: &[r#"CREATE TABLE neverstale.tag (
  xid xid8 NOT NULL,
  tag text COLLATE "C" NOT NULL,
  PRIMARY KEY (xid, tag)
)"#],
    },
    Relation {
        name: "seal",
        kind: "r",
        persistence: "p",
        columns: "xid xid8, stage smallint, fired_at timestamp with time zone, capped boolean, wide text[]",
        // Empty between transactions, so a vacuum of it is nearly free and keeps its index small.
        create: &["CREATE TABLE neverstale.seal (
  xid xid8 PRIMARY KEY,
  stage smallint NOT NULL DEFAULT 0,
  fired_at timestamptz,
  capped boolean NOT NULL DEFAULT false,
  wide text[] NOT NULL DEFAULT '{}'
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)"],
    },
    Relation {
        name: "log",
        kind: "r",
        persistence: "p",
        columns: "position bigint, intent bigint, xid xid8",
        create: &["CREATE TABLE neverstale.log (
  position bigint PRIMARY KEY,
  intent bigint,
  xid xid8 NOT NULL
)"],
    },
    Relation {
        name: "pruned",
        kind: "r",
        persistence: "p",
        columns: "singleton boolean, pruned_to bigint",
        create: &[
            "CREATE TABLE neverstale.pruned (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  pruned_to bigint NOT NULL
)",
            "INSERT INTO neverstale.pruned (pruned_to) VALUES (0)",
        ],
    },
    Relation {
        name: "boot",
        kind: "r",
        persistence: "u",
        columns: "singleton boolean, id uuid",
        create: &["CREATE UNLOGGED TABLE neverstale.boot (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  id uuid NOT NULL
)"],
    },
    Relation {
        name: "installation",
        kind: "r",
        persistence: "p",
        columns: "singleton boolean, protocol integer, flavour text, app_schema text, specification text, lease_ms integer, \
                  lease_ms_resumed integer, lease_generation bigint, suspended boolean, lock_class integer",
        create: &["CREATE TABLE neverstale.installation (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  protocol integer NOT NULL,
  flavour text NOT NULL,
  app_schema text NOT NULL,
  specification text NOT NULL,
  lease_ms integer NOT NULL CHECK (lease_ms >= 0),
  lease_ms_resumed integer NOT NULL CHECK (lease_ms_resumed >= 0),
  lease_generation bigint NOT NULL DEFAULT 0,
  suspended boolean NOT NULL DEFAULT false,
  lock_class integer NOT NULL
)"],
    },
    Relation {
        name: "reader_grant",
        kind: "r",
        persistence: "p",
        columns: "revoke text",
        create: &["CREATE TABLE neverstale.reader_grant (revoke text PRIMARY KEY)"],
    },
    Relation {
        name: "access_overlay",
        kind: "r",
        persistence: "p",
        columns: "resource_type text, resource_id text, owner_id text, access_control jsonb, version bigint",
        // Empty until `rbac install`; what is not in it is its owner's alone.
        create: &[r#"CREATE TABLE neverstale.access_overlay (
  resource_type text COLLATE "C" NOT NULL CHECK (resource_type IN ('function', 'pipeline')),
  resource_id text COLLATE "C" NOT NULL,
  owner_id text,
  access_control jsonb NOT NULL,
  version bigint NOT NULL DEFAULT 1,
  PRIMARY KEY (resource_type, resource_id)
)"#],
    },
    Relation {
        name: "position",
        kind: "S",
        persistence: "p",
        columns: "",
        // Advanced once, so that `is_called` is never false [3]; never at or below what the log holds [2].
        create: &[
            "CREATE SEQUENCE neverstale.position AS bigint CACHE 1",
            "SELECT setval('neverstale.position', greatest(1, (SELECT max(position) FROM neverstale.log)))",
        ],
    },
    Relation {
        name: "intent",
        kind: "S",
        persistence: "p",
        columns: "",
        create: &[
            "CREATE SEQUENCE neverstale.intent AS bigint CACHE 1",
            "SELECT setval('neverstale.intent', greatest(1, (SELECT max(intent) FROM neverstale.log)))",
        ],
    },
    Relation {
        name: "wait",
        kind: "S",
        persistence: "p",
        columns: "",
        // Its value is the commit wait in ms: a sequence is read without a snapshot [4]. A lost one comes back at the longest wait allowed.
        create: &[
            "CREATE SEQUENCE neverstale.wait AS bigint MINVALUE 0 START 0 CACHE 1",
            "SELECT setval('neverstale.wait', 10000)",
        ],
    },
];

/// Gives sidecars a new incarnation: whatever they hold was learnt under other definitions.
pub(crate) const RENEW_BOOT: &str = "UPDATE neverstale.boot SET id = gen_random_uuid()";
