//! The rules of the door, by the real binary: whoever asks for whatever gets what a slow and obvious reading of the rules says.
//!
//! The routes and their rules are read from `flavours/routes/` a second time, with code that shares nothing with the product; so is who
//! may do what. An application behind the door notes what reaches it.

mod actors;
mod envoy;
mod expected;
mod grpc;
mod matrix;
mod mesh;
mod mesh_ends;
mod messages;
mod requests;
mod revocations;
mod room;
mod tasks;
mod upstream;
mod world;

use anyhow::Result;
use neverstale_testkit::{Application, Client, Postgres, free_port};

use crate::house::{House, Plan};
use upstream::Upstream;

/// Sidecars with doors, before one application, in a world of two admins.
struct Doors {
    house: House,
    upstream: Upstream,
    ports: Vec<u16>,
}

impl Doors {
    /// Opens so many doors, each of a sidecar of its own, with settings of the section `ingress.guard`.
    async fn open(application: Application, count: usize, guard: &[(&str, &str)]) -> Result<Self> {
        Self::open_with(application, count, guard, &[]).await
    }

    /// Opens doors with settings of the section `ingress` too.
    async fn open_with(
        application: Application,
        count: usize,
        guard: &[(&str, &str)],
        ingress: &[(&str, &str)],
    ) -> Result<Self> {
        Self::open_on(Postgres::shared().await?, application, count, guard, ingress).await
    }

    /// Opens doors with a server that the test may stop.
    async fn open_on(
        postgres: &Postgres,
        application: Application,
        count: usize,
        guard: &[(&str, &str)],
        ingress: &[(&str, &str)],
    ) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let mut plan = Plan::of(application).sidecars(0).with(
            "NEVERSTALE_INGRESS__UPSTREAM",
            format!("http://127.0.0.1:{}", upstream.port),
        );
        for (name, value) in guard {
            plan = plan.with(&format!("NEVERSTALE_INGRESS__GUARD__{name}"), value);
        }
        for (name, value) in ingress {
            plan = plan.with(&format!("NEVERSTALE_INGRESS__{name}"), value);
        }
        let mut house = plan.open_on(postgres).await?;
        world::build(&house, application).await?;
        let mut ports = Vec::new();
        for _ in 0..count {
            let port = free_port()?;
            let options = house
                .options
                .clone()
                .with("NEVERSTALE_INGRESS__LISTEN", format!("127.0.0.1:{port}"));
            house.sidecars.push(neverstale_testkit::Sidecar::start(&options).await?);
            ports.push(port);
        }
        Ok(Self { house, upstream, ports })
    }

    fn client(&self, door: usize) -> Client {
        Client::port(self.ports[door])
    }

    /// A number of one sidecar.
    async fn counted(&self, outcome: &str) -> Result<usize> {
        let name = format!("neverstale_ingress_decisions_total{{outcome=\"{outcome}\"}} ");
        let text = self.house.sidecars[0].admin().get("/metrics").await?.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        Ok(line.unwrap_or("0").parse()?)
    }
}
