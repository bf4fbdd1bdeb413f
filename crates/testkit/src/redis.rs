//! A throw-away Redis on a loopback port, with nothing on disk.

mod cluster;
mod sentinel;

use std::{
    ffi::OsStr,
    fmt::Write as _,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

pub use cluster::{MovingSlot, RedisCluster};
pub use sentinel::RedisSentinel;

use crate::{
    ports::free_port,
    provision::redis_server,
    scratch::Scratch,
    supervisor::{Recipe, Supervised},
};

const PATIENCE: Duration = Duration::from_secs(20);
/// A free port may be taken by somebody else before the server has it.
const ATTEMPTS: usize = 8;

/// A running Redis. It ends when dropped.
#[derive(Debug)]
pub struct Redis {
    server: PathBuf,
    port: u16,
    options: Vec<String>,
    process: Mutex<Option<Supervised>>,
    home: Scratch,
}

impl Redis {
    /// Starts a server.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server with further options, such as `["--maxmemory", "8mb"]`.
    pub async fn start_with(options: &[&str]) -> Result<Self> {
        // Here and not in the loop: what cannot be installed now cannot be installed on another port.
        let server = redis_server()?.path;
        let home = Scratch::new()?;
        let options = options.iter().map(ToString::to_string).collect();
        let mut redis = Self {
            server,
            port: free_port()?,
            options,
            process: Mutex::new(None),
            home,
        };
        for _ in 0..ATTEMPTS {
            if redis.launch().await.is_ok() {
                return Ok(redis);
            }
            redis.port = free_port()?;
        }
        redis.launch().await?;
        Ok(redis)
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of database 0, as applications write it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The URL of database 0 through another port, such as a [`Link`](crate::Link)'s.
    pub fn url_through(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}/0")
    }

    /// Kills the server with SIGKILL; `start_again` brings an empty one back.
    pub async fn kill_nine(&self) -> Result<()> {
        self.with_process(|process| process.signal(Signal::KILL))?;
        let process = self.take();
        if let Some(process) = process {
            process.exited(PATIENCE).await?;
        }
        Ok(())
    }

    /// Starts the server again on the same port, with nothing in it.
    pub async fn start_again(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.launch().await {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Kills the server and starts it again on the same port, with nothing in it.
    pub async fn restart(&self) -> Result<()> {
        self.kill_nine().await?;
        self.start_again().await
    }

    /// Stops the server in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.with_process(|process| process.signal(Signal::STOP))
    }

    /// Lets a paused server go on.
    pub fn resume(&self) -> Result<()> {
        self.with_process(|process| process.signal(Signal::CONT))
    }

    /// Removes every key of every database.
    pub async fn flush(&self) -> Result<()> {
        let answer = self.command(&["FLUSHALL"]).await?;
        ensure!(answer == "OK", "empty Redis: {answer}");
        Ok(())
    }

    /// Runs a command whose answer is a simple string, a number, a bulk string (absent: the empty text) or an array of those (one a line).
    pub async fn command(&self, words: &[&str]) -> Result<String> {
        ask(self.port, words).await
    }

    async fn launch(&self) -> Result<()> {
        let port = self.port.to_string();
        let mut words: Vec<&OsStr> = vec![self.server.as_os_str()];
        let fixed = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--protected-mode",
            "no",
        ];
        words.extend(fixed.iter().map(OsStr::new));
        words.extend(self.options.iter().map(OsStr::new));
        let process = Supervised::start(&Recipe::new(&words, self.home.path(), "redis.log"))?;
        let deadline = Instant::now() + PATIENCE;
        // Somebody else's Redis on this port would answer too, so our own process must be alive after the answer.
        while self.command(&["PING"]).await.is_err() {
            process.must_live("redis-server")?;
            ensure!(Instant::now() < deadline, "Redis does not answer on port {port}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        process.must_live("redis-server")?;
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .replace(process);
        Ok(())
    }

    fn with_process(&self, act: impl FnOnce(&Supervised) -> Result<()>) -> Result<()> {
        let process = self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(process.as_ref().context("Redis does not run")?)
    }

    fn take(&self) -> Option<Supervised> {
        self.process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

/// Runs one command on a connection of its own.
async fn ask(port: u16, words: &[&str]) -> Result<String> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .context("connect to Redis")?;
    let mut stream = BufReader::new(stream);
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len())?;
    }
    stream.write_all(request.as_bytes()).await?;
    let mut left = 1_usize;
    let mut lines = Vec::new();
    while left > 0 {
        left -= 1;
        let mut head = String::new();
        ensure!(stream.read_line(&mut head).await? > 0, "Redis closed the connection");
        let (kind, rest) = head.trim_end().split_at(1);
        match kind {
            "+" | ":" => lines.push(rest.to_owned()),
            "$" if rest == "-1" => lines.push(String::new()),
            "$" => {
                let mut body = vec![0; rest.parse::<usize>()? + 2];
                stream.read_exact(&mut body).await?;
                body.truncate(body.len() - 2);
                lines.push(String::from_utf8_lossy(&body).into_owned());
            }
            "*" => left += rest.parse::<usize>()?,
            _ => bail!("Redis refused `{}`: {rest}", words.join(" ")),
        }
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_restarted_redis_has_its_port_and_no_keys() {
        let redis = Redis::start().await.unwrap();
        assert_eq!(redis.command(&["SET", "key", "value"]).await.unwrap(), "OK");
        assert_eq!(redis.command(&["GET", "key"]).await.unwrap(), "value");
        redis.restart().await.unwrap();
        assert_eq!(redis.command(&["GET", "key"]).await.unwrap(), "");
        redis.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_paused_redis_answers_again_when_resumed() {
        let redis = Redis::start().await.unwrap();
        redis.pause().unwrap();
        let unanswered = tokio::time::timeout(Duration::from_millis(100), redis.command(&["PING"])).await;
        assert!(unanswered.is_err());
        redis.resume().unwrap();
        assert_eq!(redis.command(&["PING"]).await.unwrap(), "PONG");
    }
}
