//! The installation on a real PostgreSQL: each test has a server of its own, a small application in it, and an owner who is no superuser.
//!
//! Numbers in brackets are those of the histories behind PROTOCOL §11.

#![expect(
    clippy::disallowed_methods,
    reason = "tests measure real time, and the server's programs may be named by the environment"
)]

mod app;
mod changing;
mod committing;
mod installing;
mod leasing;
mod publishing;
mod reading;
mod server;
mod verifying;
