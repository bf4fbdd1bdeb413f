//! Lends the testkit's browser to tests in other languages: a JSON object a line says what to do, a line answers.
//!
//! `{"open": URL}`, `{"evaluate": EXPRESSION}`, `{"until": EXPRESSION}`, `{"picture": FILE}`, `{"heard": true}`; the answer is
//! `{"value": …}` or `{"error": TEXT}`. Ends with its input. Knows nothing of what is looked at.

use std::{fs, io};

use anyhow::{Context, Result, bail};
use neverstale_testkit::{Browser, Look};
use serde_json::{Value, json};

const DESK: Look = Look {
    width: 1280,
    height: 900,
    is_dark: false,
};

/// Starts a browser and does as it is told until the input ends.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start a runtime")?;
    runtime.block_on(async {
        let mut browser = Browser::start().await?;
        for line in io::stdin().lines() {
            let wish: Value = serde_json::from_str(&line.context("read what to do")?).context("read what to do")?;
            let answer = match grant(&mut browser, &wish).await {
                Ok(value) => json!({ "value": value }),
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            println!("{answer}");
        }
        Ok(())
    })
}

async fn grant(browser: &mut Browser, wish: &Value) -> Result<Value> {
    let text = |name: &str| wish[name].as_str();
    if let Some(url) = text("open") {
        browser.open(url, DESK).await?;
    } else if let Some(expression) = text("evaluate") {
        return browser.evaluate(expression).await;
    } else if let Some(expression) = text("until") {
        browser.until(expression).await?;
    } else if let Some(file) = text("picture") {
        fs::write(file, browser.picture(1.0).await?).with_context(|| format!("write {file}"))?;
    } else if wish["heard"] == true {
        return Ok(json!({"complaints": browser.complaints(), "sockets": browser.sockets()}));
    } else {
        bail!("it is not known what to do with {wish}");
    }
    Ok(Value::Null)
}
