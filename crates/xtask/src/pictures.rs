//! Takes the pictures that the documents show, of the real thing under the demo's load, in a real browser.
//!
//! The dashboard is drawn by a page of our own, because no package has Grafana: its panels, places, queries and legends are read from
//! the dashboard's file, and every point is what a real Prometheus answered. The picture says so.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use neverstale_testkit::{
    Application, Browser, COMPANY, Look, Population, Postgres, PostgresVersion, Prometheus, Scratch, Sidecar,
    SidecarOptions, run_binary, workspace,
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cargo::{Profile, build_binary},
    demo::{DemoOptions, load::Load, stage::Stage, story::Story},
    test,
};

const DASHBOARD: &str = "helm/neverstale/dashboards/neverstale.json";
const PAGE: &str = include_str!("pictures/dashboard.html");
/// How much of the past the dashboard shows.
const SECONDS: u64 = 90;
/// Half of that goes by before Redis goes, so that the pictures have something to tell.
const CALM: Duration = Duration::from_secs(60);
const DESK: Look = Look {
    width: 1280,
    height: 800,
    is_dark: false,
};
const PHONE: Look = Look {
    width: 390,
    height: 800,
    is_dark: true,
};

/// Takes the pictures, all or those that need no load alone; what is there is replaced.
pub(crate) fn run(access_alone: bool) -> Result<()> {
    let binary = build_binary(Profile::Dev)?;
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    runtime.block_on(async {
        if !access_alone {
            Box::pin(take(&binary)).await?;
        }
        Box::pin(access(&binary)).await
    })
}

/// Takes those of the real application's page.
pub(crate) fn run_real() -> Result<()> {
    test::run_real_page(&workspace().join("docs/pictures"))?.judge()
}

async fn take(binary: &Path) -> Result<()> {
    let options = DemoOptions::once(SECONDS);
    let stage = Arc::new(Stage::set(&options, binary).await?);
    let ports: Vec<u16> = stage.sidecars.iter().map(Sidecar::admin_port).collect();
    let prometheus = Prometheus::start(&ports).await?;
    let mut browser = Browser::start().await?;
    let (load, story) = (Load::start(&stage)?, Story::start(&stage));
    browser.open(&format!("http://127.0.0.1:{}/", ports[0]), DESK).await?;
    sleep(CALM).await;
    for (name, look) in [
        ("status-light", DESK),
        ("status-dark", Look { is_dark: true, ..DESK }),
        ("status-phone", PHONE),
    ] {
        browser.look(look).await?;
        keep(&mut browser, name, 1.5).await?;
    }
    stage.redis.pause()?;
    browser.look(DESK).await?;
    browser
        .until("document.querySelectorAll('#faults li').length > 0")
        .await?;
    sleep(Duration::from_secs(5)).await;
    keep(&mut browser, "status-fault", 1.5).await?;
    stage.redis.resume()?;
    sleep(Duration::from_secs(SECONDS).saturating_sub(CALM)).await;
    let drawn = dashboard(&prometheus).await?;
    let home = Scratch::new()?;
    let page = home.path().join("dashboard.html");
    fs::write(&page, drawn).context("write the dashboard's page")?;
    browser.open(&format!("file://{}", page.display()), DESK).await?;
    keep(&mut browser, "dashboard", 1.0).await?;
    story.stop().await;
    load.stop().await;
    Ok(())
}

/// The page that shows who may do what, over a small company.
async fn access(binary: &Path) -> Result<()> {
    let mut browser = Browser::start().await?;
    let postgres = Postgres::start(PostgresVersion::from_environment(), &[]).await?;
    let application = Application::OpenWebUi012;
    let database = postgres.fresh_database(application).await?;
    let client = database.connect().await?;
    let only_the_first = Population {
        users: 1,
        groups: 1,
        memberships: 1,
        api_keys: 1,
    };
    application.populate(&client, only_the_first).await?;
    run_binary(binary, &["install"], &[("DATABASE_URL", database.url())]).await?;
    client.batch_execute(COMPANY).await.context("found a company")?;
    let options = SidecarOptions::new(database.url()).with("NEVERSTALE_API__SESSION_REVOCATION_CHECKED", false);
    let sidecar = Sidecar::start_binary(binary, &options).await?;
    let dark = Look { is_dark: true, ..DESK };
    for (name, look, query) in [
        (
            "access-why",
            DESK,
            "ask=why&subject=dee&action=write&type=function&id=gemini_pipe",
        ),
        (
            "access-who",
            DESK,
            "ask=resource&type=function&id=export_action&action=execute&search=da",
        ),
        ("access-person-dark", dark, "ask=person&id=carl&type=function&show=all"),
        (
            "access-phone",
            PHONE,
            "ask=why&subject=dee&action=execute&type=model&id=support",
        ),
    ] {
        let url = format!("http://127.0.0.1:{}/access?{query}", sidecar.admin_port());
        browser.open(&url, look).await?;
        browser
            .until("document.getElementById('asof').innerText !== ''")
            .await?;
        keep(&mut browser, name, 1.5).await?;
    }
    Ok(())
}

/// Lets what moves come to rest, and takes the picture.
async fn keep(browser: &mut Browser, name: &str, scale: f64) -> Result<()> {
    browser
        .until("document.getAnimations().every(one => one.playState === 'finished')")
        .await?;
    let path = workspace().join("docs/pictures").join(format!("{name}.png"));
    fs::write(&path, browser.picture(scale).await?).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// The page with every panel of the dashboard and what Prometheus answers for it.
async fn dashboard(prometheus: &Prometheus) -> Result<String> {
    let text = fs::read_to_string(workspace().join(DASHBOARD)).context("read the dashboard")?;
    let dashboard: Value = serde_json::from_str(&text).context("read the dashboard")?;
    let mut panels = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        let mut series = Vec::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().context("a query")?;
            let query = query
                .replace("$__rate_interval", "10s")
                .replace("$namespace", "demo")
                .replace("$pod", ".*");
            for found in prometheus
                .over_the_last(SECONDS, &query)
                .await?
                .as_array()
                .context("series")?
            {
                let name = legend(target["legendFormat"].as_str().unwrap_or_default(), &found["metric"]);
                series.push(json!({"name": name, "values": found["values"]}));
            }
        }
        panels.push(json!({
            "title": panel["title"],
            "type": panel["type"],
            "place": panel["gridPos"],
            "unit": panel["fieldConfig"]["defaults"]["unit"],
            "series": series,
        }));
    }
    Ok(PAGE.replace("\"PANELS\"", &json!(panels).to_string().replace('<', "\\u003c")))
}

/// Fills a legend such as `{{direction}} {{outcome}}` from the labels of a series.
fn legend(format: &str, labels: &Value) -> String {
    let mut name = format.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    name
}
