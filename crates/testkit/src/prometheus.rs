//! Prometheus: its tools from Debian's package, and a throw-away server that scrapes sidecars and evaluates rules.
//!
//! The package is unpacked and not installed, so that no service starts.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    Client,
    fetch::{fill_once, quietly},
    ports::free_port,
    provision::as_root,
    scratch::{Scratch, target_directory},
    supervisor::{Recipe, Supervised},
};

/// The Debian package that has both programs.
const PACKAGE: &str = "prometheus";
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives a program of Prometheus, `promtool` or `prometheus`: the system's, else unpacked from Debian's package.
///
/// # Errors
/// It is not here and can't be had.
pub fn prometheus_program(name: &str) -> Result<PathBuf> {
    let on_path = Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if on_path.is_ok_and(|status| status.success()) {
        return Ok(PathBuf::from(name));
    }
    let home = target_directory().join("chart").join(PACKAGE);
    fill_once(&home, |staging| {
        let download = || quietly(Command::new("apt-get").args(["download", PACKAGE]).current_dir(staging));
        if download().is_err() {
            // A new machine does not know yet which packages there are.
            quietly(as_root("apt-get").args(["update", "-qq"]))
                .context("install Prometheus, or run `apt-get update`")?;
            download().context("install Prometheus")?;
        }
        let mut files = fs::read_dir(staging)?.filter_map(|entry| Some(entry.ok()?.path()));
        let Some(package) = files.find(|path| path.extension().is_some_and(|extension| extension == "deb")) else {
            bail!("apt-get download {PACKAGE} left no package");
        };
        quietly(Command::new("dpkg-deb").arg("--extract").arg(package).arg(staging))
    })?;
    Ok(home.join("usr/bin").join(name))
}

/// A running Prometheus. It ends when dropped.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    process: Supervised,
    _home: Scratch,
}

impl Prometheus {
    /// Starts one that scrapes these admin ports every second, each as a pod `chat-0`, `chat-1`, … of the namespace `demo`.
    pub async fn start(admin_ports: &[u16]) -> Result<Self> {
        Self::start_with_rules(admin_ports, Duration::from_secs(1), "groups: []").await
    }

    /// Starts one that scrapes them as often as said, and as often evaluates rules, which are given as a file's text.
    pub async fn start_with_rules(admin_ports: &[u16], every: Duration, rules: &str) -> Result<Self> {
        let program = prometheus_program("prometheus")?;
        let (home, port) = (Scratch::new()?, free_port()?);
        fs::write(home.path().join("rules.yaml"), rules).context("write Prometheus' rules")?;
        let every = every.as_millis();
        let mut text = format!(
            "global: {{ scrape_interval: {every}ms, evaluation_interval: {every}ms }}\nrule_files: [rules.yaml]\n\
             scrape_configs:\n  - job_name: neverstale\n    static_configs:\n"
        );
        for (place, admin_port) in admin_ports.iter().enumerate() {
            text += &format!(
                "      - {{ targets: [\"127.0.0.1:{admin_port}\"], labels: {{ namespace: demo, pod: chat-{place} }} }}\n"
            );
        }
        let file = home.path().join("prometheus.yaml");
        fs::write(&file, text).context("write Prometheus' file")?;
        let flags = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", home.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        let mut command = vec![program.as_os_str()];
        command.extend(flags.iter().map(OsStr::new));
        let process = Supervised::start(&Recipe::new(&command, home.path(), "prometheus.log"))?;
        let started = Self {
            port,
            process,
            _home: home,
        };
        let deadline = Instant::now() + PATIENCE;
        while !matches!(Client::port(port).get("/-/ready").await, Ok(answer) if answer.status == 200) {
            started.process.must_live("prometheus")?;
            ensure!(
                Instant::now() < deadline,
                "prometheus is not ready:\n{}",
                started.process.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(started)
    }

    /// The alerts that are pending or firing now, each with its labels, annotations and state.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        list(self.ask("/api/v1/alerts").await?["alerts"].take())
    }

    /// The rules as they were evaluated last, each with its health.
    pub async fn rules(&self) -> Result<Vec<Value>> {
        let groups = list(self.ask("/api/v1/rules").await?["groups"].take())?;
        let rules = groups.into_iter().map(|mut group| list(group["rules"].take()));
        Ok(rules.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Asks a query of this moment, and gives its series.
    pub async fn now(&self, query: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/query?query={}", escaped(query));
        list(self.ask(&path).await?["result"].take())
    }

    /// Asks a query over the last seconds, one value a second, and gives its series.
    pub async fn over_the_last(&self, seconds: u64, query: &str) -> Result<Value> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let query = escaped(query);
        let path = format!(
            "/api/v1/query_range?query={query}&start={}&end={now}&step=1",
            now - seconds
        );
        Ok(self.ask(&path).await?["result"].take())
    }

    /// The data of an answer.
    async fn ask(&self, path: &str) -> Result<Value> {
        let mut answer = Client::port(self.port).get(path).await?.json()?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].take())
    }
}

fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) => Ok(list),
        other => bail!("Prometheus gives no list but {other}"),
    }
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}
