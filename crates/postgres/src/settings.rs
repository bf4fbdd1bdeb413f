//! The section `database`: where the application's Postgres is and how long we wait for it.

use std::time::Duration;

neverstale_settings::section! {
    /// The application's PostgreSQL: the primary, whose commits decide what is stale.
    pub struct DatabaseSettings = "database";
    /// Says where the primary is, as the application writes it: `postgresql://`, `postgres://` or SQLAlchemy's `postgresql+driver://`. `DATABASE_URL` is understood too. No pooler in transaction mode may be in between.
    url: Option<Secret> = None, unit "URL", when "always: without it nothing starts";
    /// Names the schema that holds the application's tables.
    app_schema: String = "public", unit "schema", when "the application sets DATABASE_SCHEMA";
    /// Chooses the schema flavour: `detect` looks at the tables, a name takes that built-in one, a path loads a file of one's own.
    schema: String = "detect", unit "flavour or path", when "detection finds none, or the flavour is your own";
    /// Limits how long opening a connection may take.
    connect_timeout_ms: u64 = 3_000, unit "milliseconds", range 50..=60_000, when "the way to the database is slow at connecting";
    /// Limits how long one fence, fill or log fetch may take; its reads fail after that.
    statement_timeout_ms: u64 = 2_000, unit "milliseconds", range 50..=60_000, when "views over large tables need longer";
    /// Limits the connections that fill entries at the same time; fences and LISTEN have one each besides.
    fill_connections: u32 = 4, unit "connections", range 1..=256, when "misses queue (neverstale_fill_seconds grows) while Postgres has spare capacity";
    /// Names the certificates (PEM) that the server's certificate must lead to; with it the certificate is always judged, without it the system's decide, and only under sslmode=verify-ca or verify-full.
    tls_ca_file: Option<PathBuf> = None, unit "path", when "the database's certificate comes from a private authority";
    /// Begins the names that our connections have in `pg_stat_activity`.
    application_name: String = "neverstale", unit "name", when "several installations share one server";
}

impl DatabaseSettings {
    /// Gives the limit of opening a connection.
    pub fn connect_limit(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Gives the limit of one statement.
    pub fn statement_limit(&self) -> Duration {
        Duration::from_millis(self.statement_timeout_ms)
    }
}
