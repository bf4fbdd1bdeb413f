//! The page on which a person sees who may do what: its endpoints, and itself in a real browser.
//!
//! What is decided is compared elsewhere (`access`, and in `crates/rbac`); here it is seen that a person is told that, in words, now or
//! not at all.

mod asked;
mod seen;

use anyhow::Result;
use neverstale_testkit::{Answer, Application, COMPANY, Population};
use serde_json::Value;

use crate::house::{House, Plan};

fn plan() -> Plan {
    Plan::of(Application::OpenWebUi012).sidecars(1).population(Population {
        users: 1,
        groups: 1,
        memberships: 1,
        api_keys: 1,
    })
}

/// The company with one sidecar.
async fn company(plan: Plan) -> Result<House> {
    let house = plan.open().await?;
    house.write(COMPANY).await?;
    Ok(house)
}

/// A browser on this machine names it so.
pub(crate) const HERE: (&str, &str) = ("host", "127.0.0.1");
/// And the page says that it is the page.
pub(crate) const PAGE: (&str, &str) = ("neverstale-page", "access");

async fn ask(house: &House, path: &str) -> Result<Answer> {
    house.sidecars[0].admin().get_with(path, &[HERE, PAGE]).await
}

async fn told(house: &House, path: &str) -> Result<Value> {
    let answer = ask(house, path).await?;
    anyhow::ensure!(answer.status == 200, "{path}: {} {}", answer.status, answer.text());
    answer.json()
}
