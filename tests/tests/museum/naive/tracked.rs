//! A near cache over Redis' client tracking: values are read on one connection, invalidations are heard on another.
//!
//! Imitates lettuce's client-side caching (#3481): on a miss it asks Redis and keeps what it is told; whatever is invalidated
//! meanwhile was not there yet, so nothing is removed. Leaves out everything else of a client; the protocol is RESP2, read to the one
//! depth that is needed.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection to Redis on which commands are sent and replies read apart.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) async fn to(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) async fn send(&mut self, words: &[&str]) -> Result<()> {
        let bulk = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
        let request = format!("*{}\r\n{}", words.len(), words.iter().map(bulk).collect::<String>());
        Ok(self.0.write_all(request.as_bytes()).await?)
    }

    /// Reads one reply, whatever is nested in it one after the other.
    pub(crate) async fn reply(&mut self) -> Result<Vec<String>> {
        let (mut left, mut words) = (1_usize, Vec::new());
        while left > 0 {
            left -= 1;
            let mut head = String::new();
            self.0.read_line(&mut head).await?;
            let (kind, rest) = head.trim_end().split_at_checked(1).context("a reply")?;
            match kind {
                "+" | ":" => words.push(rest.to_owned()),
                "$" if rest == "-1" => words.push(String::new()),
                "$" => {
                    let mut body = vec![0; rest.parse::<usize>()? + 2];
                    self.0.read_exact(&mut body).await?;
                    body.truncate(body.len() - 2);
                    words.push(String::from_utf8(body)?);
                }
                "*" => left += rest.parse::<usize>()?,
                _ => bail!("Redis refuses: {head}"),
            }
        }
        Ok(words)
    }
}

pub(crate) struct Tracked {
    data: Connection,
    invalidations: Connection,
    local: HashMap<String, String>,
}

impl Tracked {
    /// Tracks what is read through `data_port`; invalidations come straight from `redis_port`.
    pub(crate) async fn start(data_port: u16, redis_port: u16) -> Result<Self> {
        let mut invalidations = Connection::to(redis_port).await?;
        invalidations.send(&["CLIENT", "ID"]).await?;
        let id = invalidations.reply().await?.remove(0);
        invalidations.send(&["SUBSCRIBE", "__redis__:invalidate"]).await?;
        invalidations.reply().await?;
        let mut data = Connection::to(data_port).await?;
        data.send(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id]).await?;
        data.reply().await?;
        Ok(Self {
            data,
            invalidations,
            local: HashMap::new(),
        })
    }

    pub(crate) fn local(&self, key: &str) -> Option<&String> {
        self.local.get(key)
    }

    /// First half of a read that misses: asks.
    pub(crate) async fn ask(&mut self, key: &str) -> Result<()> {
        self.data.send(&["GET", key]).await
    }

    /// Second half: keeps what was answered.
    pub(crate) async fn keep(&mut self, key: &str) -> Result<String> {
        let value = self.data.reply().await?.remove(0);
        self.local.insert(key.to_owned(), value.clone());
        Ok(value)
    }

    /// Hears one invalidation and obeys it; gives the key.
    pub(crate) async fn hear(&mut self) -> Result<String> {
        let key = self.invalidations.reply().await?.pop().context("a key")?;
        self.local.remove(&key);
        Ok(key)
    }
}
