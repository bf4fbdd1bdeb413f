//! Bodies that are held whole, because they are judged or filtered: each has a size and a time, and all of them together a room.
//!
//! A body takes of the room what has come of it, not what it announces, so that nobody holds what he does not send. Who finds
//! none left waits for a while, then is refused: two that wait for each other's room both give theirs back. While a body grows
//! it may take twice as much memory as it counts.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::IngressSettings;

/// Room is given in pieces of this size.
const PIECE_BYTES: usize = 1_024;

/// Where bodies are held.
#[derive(Debug)]
pub(crate) struct Room {
    pieces: Arc<Semaphore>,
    /// Of one body.
    bytes_max: usize,
    /// A body has so long to come.
    limit: Duration,
    /// It may stand still for so long.
    idle: Duration,
    /// It waits so long for room.
    patience: Duration,
}

/// A body that is all here.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) bytes: Bytes,
    pub(crate) taken: Taken,
}

/// What a body takes of the room: given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pieces: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// A body that is not held whole.
pub(crate) struct Unheld<B> {
    pub(crate) why: NotWhole,
    /// What has come of it, and takes of the room.
    pub(crate) begun: Whole,
    /// What may still come.
    pub(crate) rest: B,
}

/// Why a body is not held whole.
#[derive(Debug)]
pub(crate) enum NotWhole {
    /// It is larger than a body may be that is held.
    TooLarge,
    /// There is no room left.
    NoRoom,
    /// It takes too long to come, or stands still.
    TooSlow,
    /// It ended early.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

impl NotWhole {
    /// Says whether there is nothing left to go on with.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl Room {
    pub(crate) fn new(settings: &IngressSettings) -> Self {
        let all = usize::try_from(settings.judged_bytes_total_max).unwrap_or(usize::MAX) / PIECE_BYTES;
        let one = settings
            .judged_bytes_max
            .min(settings.body_bytes_max)
            .min(settings.judged_bytes_total_max);
        Self {
            pieces: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            bytes_max: one as usize,
            limit: Duration::from_secs(settings.judged_seconds),
            idle: Duration::from_secs(settings.idle_seconds),
            patience: Duration::from_millis(settings.decision_ms),
        }
    }

    /// Reads a body until its end.
    ///
    /// # Cancel safety
    /// Dropping it gives back the room, and loses what was read.
    pub(crate) async fn hold<B>(&self, mut body: B) -> Result<Whole, Unheld<B>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let end = Instant::now() + self.limit;
        let (mut read, mut taken) = (Read::Nothing, Taken::default());
        let why = loop {
            let next = end.min(Instant::now() + self.idle);
            let data = match timeout_at(next, body.frame()).await {
                // Trailers are nothing that is judged.
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Ok(Some(Err(error))) => break NotWhole::Broken(error.into()),
                Ok(None) => {
                    let bytes = read.into_bytes();
                    return Ok(Whole { bytes, taken });
                }
                Err(_) => break NotWhole::TooSlow,
            };
            read.add(data);
            if read.len() > self.bytes_max {
                break NotWhole::TooLarge;
            }
            let patience = end.min(Instant::now() + self.patience);
            if !self.has_room(&mut taken, read.len(), patience).await {
                break NotWhole::NoRoom;
            }
        };
        let bytes = read.into_bytes();
        Err(Unheld {
            why,
            begun: Whole { bytes, taken },
            rest: body,
        })
    }

    /// Takes room for so many bytes in all, if there is any before the deadline.
    async fn has_room(&self, taken: &mut Taken, bytes: usize, deadline: Instant) -> bool {
        let pieces = (bytes.div_ceil(PIECE_BYTES) - taken.bytes.div_ceil(PIECE_BYTES)) as u32;
        taken.bytes = bytes;
        if pieces == 0 {
            return true;
        }
        let taking = Arc::clone(&self.pieces).acquire_many_owned(pieces);
        let Ok(Ok(more)) = timeout_at(deadline, taking).await else {
            return false;
        };
        match &mut taken.pieces {
            Some(pieces) => pieces.merge(more),
            None => taken.pieces = Some(more),
        }
        true
    }
}

/// What has come of a body. One piece stays as it came; more are put together, because small pieces may each hold a large buffer.
enum Read {
    Nothing,
    One(Bytes),
    Several(BytesMut),
}

impl Read {
    fn add(&mut self, data: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(first.len() + data.len());
                all.extend_from_slice(first);
                all.extend_from_slice(&data);
                *self = Self::Several(all);
            }
            Self::Several(all) => all.extend_from_slice(&data),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(first) => first.len(),
            Self::Several(all) => all.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(first) => first,
            Self::Several(all) => all.freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const KILOBYTE: usize = 1_024;

    fn room(judged_seconds: u64, idle_seconds: u64) -> Room {
        Room::new(&IngressSettings {
            judged_bytes_max: 8 * KILOBYTE as u64,
            judged_bytes_total_max: 10 * KILOBYTE as u64,
            judged_seconds,
            idle_seconds,
            ..IngressSettings::default()
        })
    }

    /// A body of so many kilobytes, one after each pause.
    fn dripping(kilobytes: usize, pause: Duration) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let pieces = stream::iter(0..kilobytes).then(move |_| async move {
            sleep(pause).await;
            Ok(Frame::data(Bytes::from(vec![b'x'; KILOBYTE])))
        });
        StreamBody::new(Box::pin(pieces))
    }

    fn at_once(kilobytes: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        dripping(kilobytes, Duration::ZERO)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_held_up_to_its_size_and_gives_its_room_back() {
        let room = room(100, 100);
        for _ in 0..3 {
            let whole = room.hold(at_once(8)).await.ok().unwrap();
            assert_eq!(whole.bytes.len(), 8 * KILOBYTE);
            assert_eq!(room.pieces.available_permits(), 2);
        }
        let unheld = room.hold(at_once(9)).await.err().unwrap();
        assert!(matches!(unheld.why, NotWhole::TooLarge));
        // Whoever goes on with it loses nothing.
        let rest = unheld.rest.collect().await.unwrap().to_bytes();
        assert_eq!(unheld.begun.bytes.len() + rest.len(), 9 * KILOBYTE);
        drop(unheld.begun);
        assert_eq!(room.pieces.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_for_it_and_then_is_refused() {
        let room = room(100, 100);
        let held = room.hold(at_once(8)).await.ok().unwrap();
        let begun = Instant::now();
        let unheld = room.hold(at_once(4)).await.err().unwrap();
        assert!(matches!(unheld.why, NotWhole::NoRoom));
        assert_eq!(begun.elapsed(), room.patience);
        drop(unheld);
        // Room that comes free meanwhile is taken.
        let (waited, ()) = tokio::join!(room.hold(at_once(4)), async {
            sleep(room.patience / 2).await;
            drop(held);
        });
        assert_eq!(waited.ok().unwrap().bytes.len(), 4 * KILOBYTE);
        assert_eq!(room.pieces.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_and_does_not_come_takes_no_room() {
        let room = room(100, 100);
        let announced = room.hold(dripping(8, 60 * SECOND));
        assert!(timeout(SECOND, announced).await.is_err());
        let (held, other) = tokio::join!(
            timeout(SECOND, room.hold(dripping(8, 60 * SECOND))),
            timeout(SECOND, room.hold(at_once(8)))
        );
        assert!(held.is_err() && other.unwrap().is_ok());
    }

    /// Without a time for the whole of it a body that never stands still for long would be held for as long as its sender likes.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_has_a_time_for_the_whole_of_it() {
        let drip = || dripping(8, 3 * SECOND);
        let begun = Instant::now();
        let unheld = room(10, 5).hold(drip()).await.err().unwrap();
        assert!(matches!(unheld.why, NotWhole::TooSlow));
        assert_eq!((begun.elapsed(), unheld.begun.bytes.len()), (10 * SECOND, 3 * KILOBYTE));
        assert!(
            room(100, 5).hold(drip()).await.is_ok(),
            "patience alone does not end it"
        );
        let begun = Instant::now();
        let unheld = room(100, 2).hold(drip()).await.err().unwrap();
        assert!(matches!(unheld.why, NotWhole::TooSlow));
        assert_eq!(begun.elapsed(), 2 * SECOND);
    }
}
