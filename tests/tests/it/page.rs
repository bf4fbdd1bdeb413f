//! The status page as an operator sees it: in a real browser, by day and by night, on a desk and on a phone.

use std::sync::Arc;

use neverstale_testkit::{Application, Browser, Client, Look, run};
use serde_json::json;
use tokio::sync::Notify;

use crate::house::{House, Plan};

pub(crate) const DESK: Look = Look {
    width: 1280,
    height: 860,
    is_dark: false,
};
pub(crate) const PHONE: Look = Look {
    width: 360,
    height: 740,
    is_dark: false,
};

/// The least contrast of every text with what is behind it, by WCAG 2's formula: the ratio, and the text.
pub(crate) const LEAST_CONTRAST: &str = r"(() => {
  const channels = colour => colour.match(/[\d.]+/g).map(Number);
  const light = colour => channels(colour).slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return getComputedStyle(at).backgroundColor;
    }
    return 'rgb(255, 255, 255)';
  };
  const texts = [...document.querySelectorAll('main *')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const rated = texts.map(element => {
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
    return [(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), element.textContent.trim()];
  });
  return rated.sort((one, other) => one[0] - other[0])[0];
})()";

async fn house() -> House {
    Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with_redis()
        .open()
        .await
        .unwrap()
}

async fn browser_at(house: &House, look: Look) -> Browser {
    let mut browser = Browser::start().await.unwrap();
    let url = format!("http://127.0.0.1:{}/", house.sidecars[0].admin_port());
    browser.open(&url, look).await.unwrap();
    browser
}

/// What an element of the page says.
pub(crate) async fn text(browser: &mut Browser, id: &str) -> String {
    let expression = format!("document.getElementById('{id}').innerText");
    browser
        .evaluate(&expression)
        .await
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) async fn says(browser: &mut Browser, id: &str, wanted: &str) {
    let expression = format!("document.getElementById('{id}').innerText.includes({})", json!(wanted));
    browser.until(&expression).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_move_while_reads_come_and_invalidations_appear_as_they_are_written() {
    let house = house().await;
    let mut browser = browser_at(&house, DESK).await;
    says(&mut browser, "verdict", "Serving from memory").await;
    says(&mut browser, "flavour", "openwebui-0.12").await;
    says(&mut browser, "relay", "this sidecar").await;
    says(&mut browser, "rate", "0").await;
    let enough = Arc::new(Notify::new());
    let reading = tokio::spawn(read(house.sidecars[0].api_port(), Arc::clone(&enough)));
    let rate = "Number(document.getElementById('rate').innerText.replaceAll(',', ''))";
    browser.until(&format!("{rate} > 5")).await.unwrap();
    browser
        .until("parseFloat(document.getElementById('l1ratio').innerText) > 50")
        .await
        .unwrap();
    browser
        .until("parseFloat(document.getElementById('l1bar').style.width) > 50")
        .await
        .unwrap();
    browser
        .until("document.querySelector('#spark .over').getAttribute('d').includes('L')")
        .await
        .unwrap();
    let position = text(&mut browser, "position").await;
    house.set_role("u2", "admin").await.unwrap();
    says(&mut browser, "changes", "user.id:u2").await;
    says(&mut browser, "changes", "ago").await;
    assert_ne!(text(&mut browser, "position").await, position);
    enough.notify_one();
    reading.await.unwrap();
    browser.until(&format!("{rate} === 0")).await.unwrap();
    assert_eq!(browser.complaints(), [""; 0]);
}

async fn read(port: u16, enough: Arc<Notify>) {
    let mut client = Client::port(port);
    let reads = async {
        loop {
            assert_eq!(client.get("/v1/users/u1/role").await.unwrap().status, 200);
        }
    };
    tokio::select! {
        () = enough.notified() => {}
        () = reads => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_comes_with_what_it_means_and_the_next_step_and_goes_when_it_is_mended() {
    let mut house = house().await;
    let mut browser = browser_at(&house, DESK).await;
    says(&mut browser, "verdict", "Serving from memory").await;
    assert_eq!(text(&mut browser, "faults").await, "");
    // What a migration that was not announced does.
    house.write("ALTER TABLE \"user\" DISABLE TRIGGER USER").await.unwrap();
    says(&mut browser, "verdict", "Not ready").await;
    says(&mut browser, "faults", "every read is asked of Postgres").await;
    says(&mut browser, "faults", "Run neverstale verify").await;
    says(&mut browser, "faults", "docs/runbook/NeverstaleNotCached.md").await;
    // The very step that it names.
    run(&["install"], &[("DATABASE_URL", house.database.url())])
        .await
        .unwrap();
    says(&mut browser, "verdict", "Serving from memory").await;
    drop(house.redis.take());
    says(&mut browser, "verdict", "Serving, with less").await;
    says(&mut browser, "faults", "Bring Redis back").await;
    house.sidecars[0].kill_nine().await.unwrap();
    says(&mut browser, "verdict", "Out of reach").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_readable_by_day_and_by_night_on_a_desk_and_on_a_phone() {
    let mut house = house().await;
    let mut browser = browser_at(&house, DESK).await;
    house.set_role("u2", "admin").await.unwrap();
    says(&mut browser, "changes", "user.id:u2").await;
    let height = browser.evaluate("document.documentElement.scrollHeight").await.unwrap();
    assert!(
        height.as_u64().unwrap() <= u64::from(DESK.height),
        "one screen: {height}"
    );
    // With a fault too, whose colours are others.
    drop(house.redis.take());
    says(&mut browser, "faults", "Bring Redis back").await;
    for size in [DESK, PHONE] {
        for is_dark in [false, true] {
            browser.look(Look { is_dark, ..size }).await.unwrap();
            let ground = if is_dark {
                "rgb(15, 17, 19)"
            } else {
                "rgb(246, 246, 243)"
            };
            browser
                .until(&format!(
                    "getComputedStyle(document.body).backgroundColor === '{ground}'"
                ))
                .await
                .unwrap();
            let least = browser.evaluate(LEAST_CONTRAST).await.unwrap();
            assert!(
                least[0].as_f64().unwrap() >= 4.5,
                "{} wide, dark {is_dark}: {least}",
                size.width
            );
            let wide = browser.evaluate("document.documentElement.scrollWidth").await.unwrap();
            assert!(
                wide.as_u64().unwrap() <= u64::from(size.width),
                "{wide} instead of {}",
                size.width
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_told_becomes_markup_and_no_other_script_runs() {
    let house = house().await;
    let mut browser = browser_at(&house, DESK).await;
    house
        .write("INSERT INTO \"group\" (id, user_id, name, description) VALUES ('<b id=x>', 'u1', 'n', '')")
        .await
        .unwrap();
    says(&mut browser, "changes", "<b id=x>").await;
    assert_eq!(
        browser.evaluate("document.getElementById('x')").await.unwrap(),
        json!(null)
    );
    assert_eq!(browser.complaints(), [""; 0]);
    let intrusion =
        "document.head.append(Object.assign(document.createElement('script'), {text: 'window.intruded = true'}))";
    browser.evaluate(intrusion).await.unwrap();
    browser
        .evaluate("new Promise(resolve => setTimeout(resolve))")
        .await
        .unwrap();
    assert_eq!(
        browser.evaluate("window.intruded === undefined").await.unwrap(),
        json!(true)
    );
    assert!(
        browser.complaints()[0].contains("Content Security Policy"),
        "{:?}",
        browser.complaints()
    );
    // What it shows has no whole key of a person, and no secret of anybody.
    let whole = browser
        .evaluate("fetch('status').then(answer => answer.text())")
        .await
        .unwrap();
    for secret in ["@example", "password", "sk-"] {
        assert!(!whole.as_str().unwrap().contains(secret), "{secret}");
    }
}

/// A page that asks elsewhere would be found: the browser tells what it was refused.
#[tokio::test(flavor = "multi_thread")]
async fn it_asks_nobody_but_its_sidecar() {
    let house = house().await;
    let mut browser = browser_at(&house, DESK).await;
    says(&mut browser, "verdict", "Serving from memory").await;
    let asked = "performance.getEntriesByType('resource').every(one => ['status', 'access'].some(path => one.name === `${location.origin}/${path}`))";
    assert_eq!(browser.evaluate(asked).await.unwrap(), json!(true));
    let elsewhere = format!(
        "fetch('http://127.0.0.1:{}/v1/position').then(() => 'answered', () => 'refused')",
        house.sidecars[0].api_port()
    );
    assert_eq!(browser.evaluate(&elsewhere).await.unwrap(), json!("refused"));
    assert!(!browser.complaints().is_empty());
}
