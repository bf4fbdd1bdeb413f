//! The connection that hears Postgres' bell; it does nothing else, so it is always drained.

use std::{path::Path, time::Duration};

use crate::{Connection, Notifications, PostgresError, Target};

/// A connection that listens.
pub struct Listener {
    connection: Connection,
    bells: Notifications,
}

impl Listener {
    /// Connects and listens.
    ///
    /// # Errors
    ///
    /// As [`Connection::open`].
    pub async fn open(
        target: &Target,
        ca_file: Option<&Path>,
        connect_limit: Duration,
        statement_limit: Duration,
    ) -> Result<Self, PostgresError> {
        let (connection, bells) = Connection::open(target, ca_file, connect_limit, statement_limit).await?;
        connection
            .within("listen", connection.client().batch_execute("LISTEN neverstale"))
            .await?;
        Ok(Self { connection, bells })
    }

    /// Waits for a bell; none when the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn bell(&mut self) -> Option<()> {
        self.bells.recv().await?;
        // Several bells are one reason to look.
        while self.bells.try_recv().is_ok() {}
        Some(())
    }

    /// Asks whether the session still answers: a half-open connection hears nothing and says nothing.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn ping(&self) -> Result<(), PostgresError> {
        self.connection
            .within("ping the listening session", self.connection.client().batch_execute(""))
            .await
    }
}
