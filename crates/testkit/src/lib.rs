//! Gives tests, benches and the demo a real PostgreSQL, a real Redis, the application's schema and sidecars to start.
//!
//! Everything that is started here listens on loopback only, lives in a directory of its own and ends with the process that started it,
//! however that process ends. Nothing here knows what a right answer is: that is the business of the tests.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the workshop reads the environment, starts threads and tells a person what it does; the seams of the product are not for it"
)]

mod browser;
mod envoy;
mod fetch;
mod http;
mod link;
mod nginx;
mod owui;
mod pgbouncer;
mod ports;
mod postgres;
mod prometheus;
mod provision;
mod redis;
mod scratch;
mod sidecar;
mod supervisor;
mod wall_clock;

pub use browser::{Browser, Look};
pub use envoy::Envoy;
pub use fetch::{fill_once, python_packages, quietly};
pub use http::{Answer, Client, EventLines, Target};
pub use link::Link;
pub use nginx::Nginx;
pub use owui::{Application, COMPANY, Population, api_key, group_id, user_email, user_id};
pub use pgbouncer::PgBouncer;
pub use ports::free_port;
pub use postgres::{Database, Postgres};
pub use prometheus::{Prometheus, prometheus_program};
pub use provision::{PostgresVersion, Provisioned, chromium, postgres_binaries, redis_server};
pub use redis::{MovingSlot, Redis, RedisCluster, RedisSentinel};
pub use scratch::{Scratch, target_directory, workspace};
pub use sidecar::{Sidecar, SidecarOptions, cargo, command, neverstale, run, run_binary};
pub use wall_clock::WallClock;
