//! Where the database is: a URL as libpq, SQLAlchemy or the application writes it, and the TLS that it asks for.

use std::{fmt, time::Duration};

use tokio_postgres::config::{Host, SslMode};
use url::Url;

/// How the server's certificate is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// Encrypted, not judged: what libpq does for `prefer` and `require`.
    None,
    /// The chain and the host name must be right.
    Full,
}

/// A database to connect to.
#[derive(Clone)]
pub struct Target {
    pub(crate) config: tokio_postgres::Config,
    pub(crate) verification: Verification,
    #[cfg(feature = "simulation")]
    pub(crate) dialer: Option<crate::simulated::Dialer>,
}

/// Why a database URL can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is no URL.
    #[error("not a URL: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// It names another kind of database.
    #[error(
        "`{0}` is not Postgres: Neverstale needs the application's PostgreSQL, such as postgresql://user:password@host:5432/database"
    )]
    NotPostgres(String),
    /// A parameter has a value that we can't keep.
    #[error("parameter {name}={value}: {reason}")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// Its value.
        value: String,
        /// Why not, and what else.
        reason: &'static str,
    },
    /// The driver refuses it.
    #[error("{0}")]
    Refused(String),
}

impl Target {
    /// Understands `postgres://`, `postgresql://` and SQLAlchemy's `postgresql+driver://`, with libpq's parameters.
    ///
    /// # Errors
    ///
    /// [`TargetError`], which never repeats the password.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let mut url = Url::parse(url.trim())?;
        let scheme = url.scheme().to_owned();
        if !matches!(scheme.split('+').next(), Some("postgres" | "postgresql")) {
            return Err(TargetError::NotPostgres(scheme));
        }
        let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let mut verification = Verification::None;
        let mut mode = SslMode::Prefer;
        let mut kept = Vec::new();
        for (name, value) in parameters {
            match (name.as_str(), value.as_str()) {
                ("sslmode" | "ssl", "disable" | "false") => mode = SslMode::Disable,
                ("sslmode" | "ssl", "allow" | "prefer") => mode = SslMode::Prefer,
                ("sslmode" | "ssl", "require" | "true") => mode = SslMode::Require,
                ("sslmode" | "ssl", "verify-ca" | "verify-full") => {
                    (mode, verification) = (SslMode::Require, Verification::Full);
                }
                ("sslmode" | "ssl", _) => {
                    let reason = "use disable, prefer, require, verify-ca or verify-full";
                    return Err(TargetError::Parameter { name, value, reason });
                }
                // The driver names itself, and certificates come from `database.tls_ca_file`.
                ("application_name" | "sslrootcert" | "prepared_statement_cache_size" | "async_fallback", _) => {}
                _ => kept.push((name, value)),
            }
        }
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
        let text = url.as_str().replacen(&scheme, "postgresql", 1);
        let mut config: tokio_postgres::Config = text
            .parse()
            .map_err(|error: tokio_postgres::Error| TargetError::Refused(chain(&error)))?;
        config.ssl_mode(mode);
        config.application_name("neverstale");
        config
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(10));
        Ok(Self {
            config,
            verification,
            #[cfg(feature = "simulation")]
            dialer: None,
        })
    }

    /// Names the program in `pg_stat_activity`.
    pub fn application_name(&mut self, name: &str) {
        self.config.application_name(name);
    }

    /// Judges the server's certificate by the given authorities, whatever the URL says.
    pub(crate) fn verify(&mut self) {
        self.verification = Verification::Full;
    }

    /// Gives the role's name, if the URL has one.
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// Gives the database's name, if the URL has one.
    pub fn database(&self) -> Option<&str> {
        self.config.get_dbname()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".to_owned(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        write!(f, "{host}:{port}/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood_as_the_application_writes_them() {
        for scheme in [
            "postgres",
            "postgresql",
            "postgresql+psycopg2",
            "postgresql+asyncpg",
            "postgresql+psycopg",
        ] {
            let target = Target::parse(&format!("{scheme}://u:p%40ss@db.example:6432/owui?sslmode=require")).unwrap();
            assert_eq!(target.to_string(), "db.example:6432/owui");
            assert_eq!(target.config.get_password(), Some(b"p@ss".as_slice()));
            assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
        }
        let verified = Target::parse("postgres://u@h/d?sslmode=verify-full&connect_timeout=3").unwrap();
        assert_eq!(verified.verification, Verification::Full);
    }

    #[test]
    fn another_database_is_refused_with_the_next_step_and_without_the_password() {
        let error = Target::parse("sqlite:///app/webui.db").unwrap_err().to_string();
        assert!(
            error.contains("not Postgres") && error.contains("postgresql://"),
            "{error}"
        );
        let error = Target::parse("postgres://u:hunter2@h/d?sslmode=maybe")
            .unwrap_err()
            .to_string();
        assert!(error.contains("verify-full") && !error.contains("hunter2"), "{error}");
    }
}
