//! The stage of every exhibit: a populated application's database with our installation in it, and somebody who writes plain SQL.

use neverstale_testkit::{Application, Database, Link, Population, Postgres, run};
use tokio_postgres::{Client, NoTls};

pub(crate) struct House {
    pub(crate) application: Application,
    pub(crate) database: Database,
    pub(crate) writer: Client,
}

impl House {
    pub(crate) async fn open(application: Application, lease_ms: u32) -> Self {
        let postgres = Postgres::shared().await.unwrap();
        let database = postgres.fresh_database(application).await.unwrap();
        let writer = database.connect().await.unwrap();
        application.populate(&writer, Population::default()).await.unwrap();
        let lease_ms = lease_ms.to_string();
        run(
            &["install", "--lease-ms", &lease_ms],
            &[("DATABASE_URL", database.url())],
        )
        .await
        .unwrap();
        Self {
            application,
            database,
            writer,
        }
    }

    /// Writes, and returns when the commit has been acknowledged.
    pub(crate) async fn write(&self, sql: &str) {
        self.writer.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn set_role(&self, user: &str, role: &str) {
        self.write(&format!("UPDATE \"user\" SET role = '{role}' WHERE id = '{user}'"))
            .await;
    }

    /// What is true now.
    pub(crate) async fn role(&self, user: &str) -> String {
        read_role(&self.writer, user).await
    }

    /// A link to the server, and a client on the other side of it.
    pub(crate) async fn over_a_link(&self) -> (Link, Client) {
        let link = Link::to(port(self.database.url())).await.unwrap();
        let url = self.database.url_through(link.port());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        (link, client)
    }
}

/// The query that every naive cache fills with.
pub(crate) async fn read_role(client: &Client, user: &str) -> String {
    let sql = "SELECT role::text FROM \"user\" WHERE id = $1::text";
    client
        .query_typed(sql, &[(&user, tokio_postgres::types::Type::TEXT)])
        .await
        .unwrap()[0]
        .get(0)
}

/// The port of `scheme://user@host:port/rest`.
pub(crate) fn port(url: &str) -> u16 {
    let after = url.rsplit_once(':').unwrap().1;
    after.split('/').next().unwrap().parse().unwrap()
}
