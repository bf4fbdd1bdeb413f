//! What hyper repairs in silence: framing of HTTP/1 requests that the next server could read differently.
//!
//! hyper refuses most of what is wrong by itself, and takes `Transfer-Encoding` where `Content-Length` stands beside it, as it may
//! (RFC 9112 §6.1). Whoever passes requests on wants to know of it and refuse. This watches the bytes as they come in, finds
//! the heads by the parser that hyper has, skips the bodies, and notes the first trick. It decides nothing about framing: when it
//! is lost it stops watching, and hyper goes on to refuse what it can't read. Pure, and fuzzed.

use std::mem::take;

/// A longer head is not watched; hyper refuses it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// As many as hyper takes.
const HEADERS_MAX: usize = 100;
/// The line before a chunk: digits, and extensions that nobody uses.
const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;

/// Framing that two servers could read differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trick {
    /// A length and chunks for the same body.
    #[error("there are Content-Length and Transfer-Encoding")]
    LengthAndChunks,
    /// Several lengths, or one that is more than digits.
    #[error("there is not exactly one Content-Length of digits")]
    Lengths,
    /// An encoding of the transfer that is not `chunked`, once.
    #[error("Transfer-Encoding is not chunked alone")]
    TransferEncoding,
    /// A line that ends without a carriage return.
    #[error("a line of the head ends in a bare line feed")]
    BareLineFeed,
    /// Several hosts.
    #[error("there are several Host headers")]
    Hosts,
}

impl Trick {
    pub(crate) const ALL: [Self; 5] = [
        Self::LengthAndChunks,
        Self::Lengths,
        Self::TransferEncoding,
        Self::BareLineFeed,
        Self::Hosts,
    ];
}

/// Watches the bytes of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// What came of a head, or of a line between chunks, and is not whole yet.
    begun: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body {
        left: u64,
    },
    ChunkLine,
    Chunk {
        left: u64,
    },
    Trailers,
    /// Nothing is watched any more: another protocol, or something that hyper will refuse.
    Lost,
}

/// What follows a head.
enum Follows {
    Nothing,
    Length(u64),
    Chunks,
}

impl Default for Framing {
    fn default() -> Self {
        Self {
            state: State::Head,
            begun: Vec::new(),
        }
    }
}

impl Framing {
    /// Takes the next bytes, and gives a trick if they complete one.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Option<Trick> {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return None,
                State::Head => match self.head(&mut bytes) {
                    Ok(()) => {}
                    Err(trick) => {
                        self.lose();
                        return Some(trick);
                    }
                },
                State::Body { left } => {
                    let left = skip(&mut bytes, left);
                    self.state = if left == 0 { State::Head } else { State::Body { left } };
                }
                State::ChunkLine => self.chunk_line(&mut bytes),
                State::Chunk { left } => {
                    let left = skip(&mut bytes, left);
                    self.state = if left == 0 {
                        State::ChunkLine
                    } else {
                        State::Chunk { left }
                    };
                }
                State::Trailers => self.trailers(&mut bytes),
            }
        }
        None
    }

    /// Says whether bytes are still watched.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Says whether a body has begun and not ended, so that its caller may still be sending it.
    pub fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head | State::Lost)
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        self.begun = Vec::new();
    }

    fn head(&mut self, bytes: &mut &[u8]) -> Result<(), Trick> {
        let before = self.begun.len();
        let room = HEAD_BYTES_MAX.saturating_sub(before).min(bytes.len());
        self.begun.extend_from_slice(&bytes[..room]);
        // Empty lines before a request end none; and one can have begun in what came before.
        let is_of_a_line = |byte: &u8| !matches!(byte, b'\r' | b'\n');
        let begin = self.begun.iter().position(is_of_a_line).unwrap_or(self.begun.len());
        if !ends_a_head(&self.begun[begin.max(before.saturating_sub(3))..]) {
            *bytes = &bytes[room..];
            if self.begun.len() >= HEAD_BYTES_MAX {
                self.lose();
            }
            return Ok(());
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&self.begun) {
            Ok(httparse::Status::Complete(length)) => {
                let follows = judge(&self.begun[..length], request.headers)?;
                *bytes = &bytes[length.saturating_sub(before).min(bytes.len())..];
                self.begun.clear();
                self.state = match follows {
                    Follows::Nothing | Follows::Length(0) => State::Head,
                    Follows::Length(left) => State::Body { left },
                    Follows::Chunks => State::ChunkLine,
                };
            }
            Ok(httparse::Status::Partial) if self.begun.len() < HEAD_BYTES_MAX => *bytes = &bytes[room..],
            // hyper refuses it, or it is the preface of HTTP/2.
            _ => self.lose(),
        }
        Ok(())
    }

    /// Takes the line before a chunk, and the end of the one before it.
    fn chunk_line(&mut self, bytes: &mut &[u8]) {
        let Some(line) = self.line(bytes) else { return };
        // The end of the chunk before.
        if line.is_empty() {
            return;
        }
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let size = std::str::from_utf8(digits.trim_ascii())
            .ok()
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        match size {
            Some(0) => self.state = State::Trailers,
            Some(left) => self.state = State::Chunk { left },
            None => self.lose(),
        }
    }

    fn trailers(&mut self, bytes: &mut &[u8]) {
        if self.line(bytes).is_some_and(|line| line.is_empty()) {
            self.state = State::Head;
        }
    }

    /// Gives the next line without its end, once it is whole; one without a carriage return is hyper's to refuse.
    fn line(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if self.begun.len() + taken > CHUNK_LINE_BYTES_MAX {
            self.lose();
            return None;
        }
        self.begun.extend_from_slice(&bytes[..taken]);
        *bytes = &bytes[taken..];
        end?;
        let mut line = take(&mut self.begun);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            Some(line)
        } else {
            self.lose();
            None
        }
    }
}

/// Says whether an empty line may be in these bytes; the parser knows.
fn ends_a_head(bytes: &[u8]) -> bool {
    let mut lines = memchr::memchr_iter(b'\n', bytes).map(|end| &bytes[end + 1..]);
    lines.any(|after| after.starts_with(b"\n") || after.starts_with(b"\r\n"))
}

fn skip(bytes: &mut &[u8], left: u64) -> u64 {
    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = &bytes[skipped..];
    left - skipped as u64
}

/// Looks for tricks in a head, and says what follows it.
fn judge(head: &[u8], headers: &[httparse::Header<'_>]) -> Result<Follows, Trick> {
    let is_bare = |place: usize| place == 0 || head[place - 1] != b'\r';
    if memchr::memchr_iter(b'\n', head).any(is_bare) {
        return Err(Trick::BareLineFeed);
    }
    let values = |name: &'static str| {
        let named = headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value)
    };
    if values("host").count() > 1 {
        return Err(Trick::Hosts);
    }
    let (lengths, encodings) = (values("content-length").count(), values("transfer-encoding").count());
    match (lengths, encodings) {
        (0, 0) => Ok(Follows::Nothing),
        (1, 0) => {
            let digits = values("content-length").next().unwrap_or_default();
            let length = std::str::from_utf8(digits)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            length
                .and_then(|text| text.parse().ok())
                .map(Follows::Length)
                .ok_or(Trick::Lengths)
        }
        (_, 0) => Err(Trick::Lengths),
        (0, 1) if values("transfer-encoding").all(|value| value.eq_ignore_ascii_case(b"chunked")) => {
            Ok(Follows::Chunks)
        }
        (0, _) => Err(Trick::TransferEncoding),
        (_, _) => Err(Trick::LengthAndChunks),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const GOOD: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab\n\n\
        cPOST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n5;ext=1\r\nGET /\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";

    fn seen(bytes: &[u8]) -> (Option<Trick>, bool) {
        let mut framing = Framing::default();
        (framing.feed(bytes), framing.is_lost())
    }

    fn after_good(head: &str) -> Option<Trick> {
        let bytes = format!("{GOOD}{head}");
        let whole = seen(bytes.as_bytes()).0;
        let mut framing = Framing::default();
        let by_byte = bytes.bytes().find_map(|byte| framing.feed(&[byte]));
        assert_eq!(whole, by_byte, "{head}");
        whole
    }

    #[test]
    fn ordinary_requests_are_followed_one_after_the_other() {
        assert_eq!(seen(GOOD.repeat(3).as_bytes()), (None, false));
        assert_eq!(after_good(GOOD), None);
    }

    #[test]
    fn each_trick_is_seen_wherever_it_comes() {
        use Trick::{BareLineFeed, Hosts, LengthAndChunks, Lengths, TransferEncoding};
        for (lines, trick) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", LengthAndChunks),
            ("Transfer-Encoding: chunked\r\ncontent-length: 1\r\n", LengthAndChunks),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Lengths),
            ("Content-Length: 1\r\nContent-Length: 2\r\n", Lengths),
            ("Content-Length: +1\r\n", Lengths),
            ("Content-Length: 1, 1\r\n", Lengths),
            ("Content-Length: 0x1\r\n", Lengths),
            ("Content-Length: \r\n", Lengths),
            ("Content-Length: 99999999999999999999\r\n", Lengths),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                TransferEncoding,
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
            ("Transfer-Encoding: identity\r\n", TransferEncoding),
            ("Transfer-Encoding: xchunked\r\n", TransferEncoding),
            ("X: 1\nY: 2\r\n", BareLineFeed),
            ("Host: y\r\n", Hosts),
        ] {
            let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
            assert_eq!(after_good(&head), Some(trick), "{lines}");
        }
        assert_eq!(after_good("GET / HTTP/1.1\nHost: x\n\n"), Some(BareLineFeed));
    }

    #[test]
    fn empty_lines_before_a_request_are_part_of_it() {
        assert_eq!(seen(format!("\r\n\r\n{GOOD}").as_bytes()), (None, false));
        assert_eq!(seen(format!("\n{GOOD}").as_bytes()).0, Some(Trick::BareLineFeed));
        // Cut after the first letter, it was lost later than when it came at once.
        let mut framing = Framing::default();
        for piece in ["\n\r\n&", "I\r\n"] {
            assert_eq!(framing.feed(piece.as_bytes()), None);
            assert!(!framing.is_lost());
        }
        assert_eq!(seen(b"\n\r\n&I\r\n"), (None, false));
    }

    #[test]
    fn what_is_no_request_is_not_watched() {
        for other in [
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\u{16}\u{3}\u{1}\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert_eq!(seen(other.as_bytes()), (None, true), "{other}");
        }
        assert_eq!(seen(&vec![b'a'; 2 * HEAD_BYTES_MAX]), (None, true));
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(cuts in vec(1_usize..40, 0..60), head in "[A-Z]{1,4} /[a-z]{0,4} HTTP/1.1\r\n(Host: x\r\n|Content-Length: [0-9]\r\n|Transfer-Encoding: chunked\r\n|\n){0,4}\r\n[0-9a-f]{0,3}\r\n") {
            let bytes = format!("{GOOD}{head}{GOOD}").into_bytes();
            let mut framing = Framing::default();
            let (mut rest, mut found) = (&bytes[..], None);
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                found = found.or(framing.feed(now));
                rest = later;
            }
            found = found.or(framing.feed(rest));
            prop_assert_eq!(found, seen(&bytes).0);
        }

        #[test]
        fn whatever_comes_it_does_not_panic(bytes in vec(any::<u8>(), 0..300)) {
            let _ = seen(&bytes);
            let _ = seen(&[GOOD.as_bytes(), &bytes].concat());
        }
    }
}
