//! A real browser: Debian's Chromium without a window, told what to do through two pipes.
//!
//! Speaks what little of the Chrome DevTools Protocol a test needs: open a page in a given size and light, run an expression in it, wait
//! until one holds, take its picture. What the page complains about (errors, refusals of its policy) is kept for the test to look at.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::unix::pipe,
    time::{sleep, timeout},
};

use crate::{
    provision::chromium,
    scratch::Scratch,
    supervisor::{Recipe, Supervised},
};

const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// The protocol wants the pipes as descriptors 3 and 4.
const SCRIPT: &str = r#"exec "$@" 3<in 4>out"#;
/// Nobody is asked, nothing is fetched, nothing is remembered.
const FLAGS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The window's width in CSS pixels.
    pub width: u32,
    /// The window's height in CSS pixels.
    pub height: u32,
    /// Whether the reader sits in the dark.
    pub is_dark: bool,
}

/// A browser with one page. It is killed when dropped.
#[derive(Debug)]
pub struct Browser {
    process: Supervised,
    home: Scratch,
    sender: pipe::Sender,
    receiver: BufReader<pipe::Receiver>,
    last_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
    sockets: Sockets,
}

/// WebSockets by their request's id: the address, and how many frames came.
type Sockets = BTreeMap<String, (String, u64)>;

impl Browser {
    /// Starts a browser; installs one if there is none.
    pub async fn start() -> Result<Self> {
        let program = chromium()?.path;
        let home = Scratch::new()?;
        for name in ["in", "out"] {
            mknodat(CWD, home.path().join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("make a pipe")?;
        }
        let profile = format!("--user-data-dir={}", home.path().join("profile").display());
        let mut command: Vec<&OsStr> = ["sh", "-c", SCRIPT, "browser"].map(OsStr::new).to_vec();
        command.push(program.as_os_str());
        command.extend(FLAGS.iter().map(OsStr::new));
        command.push(OsStr::new(&profile));
        let process = Supervised::start(&Recipe::new(&command, home.path(), "browser.log"))?;
        let receiver = pipe::OpenOptions::new().open_receiver(home.path().join("out"));
        let sender = writer(&home.path().join("in"), &process).await?;
        Ok(Self {
            process,
            home,
            sender,
            receiver: BufReader::new(receiver.context("open the browser's pipe")?),
            last_id: 0,
            session: None,
            complaints: Vec::new(),
            sockets: Sockets::new(),
        })
    }

    /// Opens a page in a new tab and waits until it is loaded.
    pub async fn open(&mut self, url: &str, look: Look) -> Result<()> {
        self.session = None;
        self.complaints.clear();
        self.sockets.clear();
        let target = self.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call("Target.attachToTarget", attached).await?;
        self.session = Some(session["sessionId"].as_str().context("a session")?.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({})).await?;
        }
        self.look(look).await?;
        self.call("Page.navigate", json!({"url": url})).await?;
        let loaded = format!(
            "location.href.startsWith({}) && document.readyState === 'complete'",
            json!(url)
        );
        self.until(&loaded).await
    }

    /// Changes size and light.
    pub async fn look(&mut self, look: Look) -> Result<()> {
        let size =
            json!({"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let light = if look.is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": light}]});
        self.call("Emulation.setEmulatedMedia", media).await.map(drop)
    }

    /// Runs an expression in the page and gives its value.
    pub async fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", asked).await?;
        ensure!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression holds in the page.
    pub async fn until(&mut self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression).await? != Value::Bool(true) {
            if Instant::now() > deadline {
                let text = self.evaluate("document.body.innerText").await?;
                bail!(
                    "waited {PATIENCE:?} in vain until {expression}; complaints {:?}; the page says {text}",
                    self.complaints
                );
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// Presses and releases a key that writes nothing, such as `Tab`, `Enter` or `ArrowDown`.
    pub async fn press(&mut self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => bail!("no key {key} is known here"),
        };
        let mut down = json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code});
        if key == "Enter" {
            // What presses a button and sends a form.
            down["text"] = "\r".into();
        }
        let up = json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code});
        for event in [down, up] {
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Writes a text where the focus is, as from a keyboard.
    pub async fn write(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", json!({"text": text})).await.map(drop)
    }

    /// Takes a picture of the whole page, as PNG; `scale` makes it finer.
    pub async fn picture(&mut self, scale: f64) -> Result<Vec<u8>> {
        let metrics = self.call("Page.getLayoutMetrics", json!({})).await?;
        let size = &metrics["cssContentSize"];
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": scale});
        let asked = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.call("Page.captureScreenshot", asked).await?;
        BASE64_STANDARD
            .decode(answer["data"].as_str().context("a picture")?)
            .context("read a picture")
    }

    /// What the page has complained about since it was opened.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// The WebSockets of the page since it was opened: to which address, and how many frames came in.
    pub fn sockets(&self) -> Vec<(&str, u64)> {
        let sockets = self.sockets.values();
        sockets.map(|(url, frames)| (url.as_str(), *frames)).collect()
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        timeout(PATIENCE, self.sender.write_all(&bytes))
            .await
            .context("the browser does not listen")??;
        loop {
            let mut told = self.hear().await.with_context(|| format!("after {method}"))?;
            if told["id"] == id {
                ensure!(told.get("error").is_none(), "{method}: {}", told["error"]);
                return Ok(told["result"].take());
            }
            self.note(&told);
        }
    }

    async fn hear(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        let heard = timeout(PATIENCE, self.receiver.read_until(0, &mut bytes)).await;
        if heard.context("the browser says nothing")?? == 0 {
            self.process.must_live("the browser")?;
            bail!("the browser has hung up:\n{}", self.process.log());
        }
        bytes.pop();
        serde_json::from_slice(&bytes).context("read what the browser says")
    }

    fn note(&mut self, told: &Value) {
        let params = &told["params"];
        let socket = params["requestId"].as_str().unwrap_or_default();
        match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                let entry = &params["entry"];
                self.complaints.push(format!("{} {}", entry["text"], entry["url"]));
            }
            Some("Network.webSocketCreated") => {
                let url = params["url"].as_str().unwrap_or_default();
                self.sockets.insert(socket.to_owned(), (url.to_owned(), 0));
            }
            Some("Network.webSocketFrameReceived") => {
                self.sockets.entry(socket.to_owned()).or_default().1 += 1;
            }
            _ => {}
        }
    }

    /// The browser's own directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

/// Opens the pipe that the browser reads, as soon as it does.
async fn writer(path: &Path, process: &Supervised) -> Result<pipe::Sender> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match pipe::OpenOptions::new().open_sender(path) {
            Ok(sender) => return Ok(sender),
            Err(error) => {
                process.must_live("the browser")?;
                ensure!(Instant::now() < deadline, "the browser does not open its pipe: {error}");
                sleep(BETWEEN_LOOKS).await;
            }
        }
    }
}
