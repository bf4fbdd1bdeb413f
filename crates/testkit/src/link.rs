//! A network link that can be slow, cut or silent: a loopback port that forwards to another.
//!
//! It shapes time and connections only; bytes are never changed, lost singly or reordered.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Chunks under way in one direction of one connection; at the bound the sender is no longer read from, as on a full network.
const CHUNKS_MAX: usize = 256;
const CHUNK_BYTES: usize = 16 * 1024;

/// What the link does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Bytes arrive after a delay.
    Open,
    /// Connections stay open, and no byte arrives on either side (half-open: a lost route, a frozen peer).
    Silent,
    /// What is asked arrives; what is answered is kept on the way.
    Unanswered,
    /// Connections are closed, and new ones are closed at once.
    Cut,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

impl State {
    fn lets_pass(self, way: Way) -> bool {
        self == Self::Open || (self == Self::Unanswered && way == Way::There)
    }
}

#[derive(Debug, Clone, Copy)]
struct Weather {
    state: State,
    delay: Duration,
    /// Counts the cuts, so that a connection notices one that was healed before it looked.
    cuts: u64,
}

/// A link. It listens until it is dropped.
#[derive(Debug)]
pub struct Link {
    port: u16,
    target: Arc<Mutex<u16>>,
    weather: watch::Sender<Weather>,
    /// How many answers are kept on the way.
    kept: Arc<watch::Sender<usize>>,
    listener: JoinHandle<()>,
}

impl Link {
    /// Opens a link to a loopback port.
    pub async fn to(target: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("open a link")?;
        let port = listener.local_addr()?.port();
        let (weather, watched) = watch::channel(Weather {
            state: State::Open,
            delay: Duration::ZERO,
            cuts: 0,
        });
        let target = Arc::new(Mutex::new(target));
        let kept = Arc::new(watch::Sender::new(0));
        let listener = tokio::spawn(accept(listener, Arc::clone(&target), watched, Arc::clone(&kept)));
        Ok(Self {
            port,
            target,
            weather,
            kept,
            listener,
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Delays every byte, in each direction, by this much.
    pub fn delay(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }

    /// Closes all connections and every new one at once.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| {
            weather.state = State::Cut;
            weather.cuts += 1;
        });
    }

    /// Closes all connections; new ones work.
    pub fn reset(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Keeps all connections open and lets no byte through, in either direction; new connections are accepted and get no answer.
    pub fn silence(&self) {
        self.weather.send_modify(|weather| weather.state = State::Silent);
    }

    /// Lets what is asked arrive, and keeps what is answered on the way.
    pub fn keep_answers(&self) {
        self.weather.send_modify(|weather| weather.state = State::Unanswered);
    }

    /// Waits until an answer is kept on the way: the other side has done what it was asked.
    pub async fn answer_kept(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        self.kept.subscribe().wait_for(|kept| *kept > 0).await.ok();
    }

    /// Ends a cut or a silence; what was sent during a silence arrives now.
    pub fn restore(&self) {
        self.weather.send_modify(|weather| weather.state = State::Open);
    }

    /// Leads new connections to another port, as a failover does.
    pub fn lead_to(&self, target: u16) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.cut();
        self.listener.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<u16>>,
    weather: watch::Receiver<Weather>,
    kept: Arc<watch::Sender<usize>>,
) {
    while let Ok((near, _)) = listener.accept().await {
        let target = *target.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::spawn(forward(near, target, weather.clone(), Arc::clone(&kept)));
    }
}

async fn forward(near: TcpStream, target: u16, mut weather: watch::Receiver<Weather>, kept: Arc<watch::Sender<usize>>) {
    let cuts = weather.borrow().cuts;
    let ended = {
        let mut weather = weather.clone();
        async move {
            weather
                .wait_for(|weather| weather.cuts != cuts || weather.state == State::Cut)
                .await
                .map(drop)
        }
    };
    let exchange = async {
        weather
            .wait_for(|weather| weather.state.lets_pass(Way::There))
            .await
            .ok()?;
        let far = TcpStream::connect(("127.0.0.1", target)).await.ok()?;
        near.set_nodelay(true).ok()?;
        far.set_nodelay(true).ok()?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::join!(
            one_way(Way::There, near_read, far_write, weather.clone(), &kept),
            one_way(Way::Back, far_read, near_write, weather.clone(), &kept)
        );
        Some(())
    };
    tokio::select! {
        _ = ended => {}
        _ = exchange => {}
    }
}

/// Reads and writes at the same time, so that a delay adds latency and does not limit throughput.
async fn one_way(
    way: Way,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    kept: &watch::Sender<usize>,
) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let mut arrivals = weather.clone();
    let reading = async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + arrivals.borrow_and_update().delay;
            if sender
                .send((due, buffer.get(..read).unwrap_or_default().to_vec()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            let is_kept = way == Way::Back && !weather.borrow().state.lets_pass(way);
            if is_kept {
                kept.send_modify(|kept| *kept += 1);
            }
            let passed = weather.wait_for(|weather| weather.state.lets_pass(way)).await.is_ok();
            if is_kept {
                kept.send_modify(|kept| *kept -= 1);
            }
            if !passed || to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        to.shutdown().await.ok();
    };
    tokio::join!(reading, writing);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        port
    }

    async fn ping(stream: &mut TcpStream) -> Result<Duration> {
        let started = Instant::now();
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        Ok(started.elapsed())
    }

    #[tokio::test]
    async fn a_delay_is_paid_in_each_direction() {
        let link = Link::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        ping(&mut stream).await.unwrap();
        link.delay(Duration::from_millis(30));
        assert!(ping(&mut stream).await.unwrap() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn a_silent_link_keeps_what_was_sent_until_it_is_restored() {
        let link = Link::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        ping(&mut stream).await.unwrap();
        link.silence();
        let mut pinging = tokio::spawn(async move { ping(&mut stream).await });
        assert!(
            tokio::time::timeout(Duration::from_millis(50), &mut pinging)
                .await
                .is_err()
        );
        link.restore();
        pinging.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_it_is_restored_and_the_question_is_not() {
        let link = Link::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        ping(&mut stream).await.unwrap();
        link.keep_answers();
        let pinging = tokio::spawn(async move { ping(&mut stream).await });
        link.answer_kept().await;
        assert!(!pinging.is_finished());
        link.restore();
        pinging.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_cut_link_closes_what_is_open_and_works_again_when_restored() {
        let link = Link::to(echo().await).await.unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        ping(&mut stream).await.unwrap();
        link.cut();
        assert!(ping(&mut stream).await.is_err());
        let mut refused = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        assert!(ping(&mut refused).await.is_err());
        link.restore();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port())).await.unwrap();
        ping(&mut stream).await.unwrap();
    }
}
