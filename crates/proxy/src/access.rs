//! Who may ask, and who may be told secrets: a bearer token over TCP, the socket's file mode on the Unix socket.
//!
//! The tokens themselves are the listener's (`crates/listener`).

use http::HeaderValue;
use neverstale_lifecycle::Watched;
use neverstale_listener::{Peer, Tokens};

use crate::problem::Failure;

/// What a caller may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Answers that carry secrets too.
    pub(crate) secrets: bool,
}

/// The rules of the listener.
pub(crate) struct Access {
    pub(crate) tokens: Option<Watched<Tokens>>,
    pub(crate) is_socket_token_required: bool,
}

impl Access {
    /// Judges a caller. Without tokens this costs nothing.
    pub(crate) fn judge(&self, peer: Peer, authorization: Option<&HeaderValue>) -> Result<Grant, Failure> {
        if peer == Peer::Unix && !self.is_socket_token_required {
            return Ok(Grant { secrets: true });
        }
        let Some(tokens) = &self.tokens else {
            return Ok(Grant { secrets: false });
        };
        match authorization {
            None => Err(Failure::unauthorised("Bearer realm=\"neverstale\"")),
            Some(value) if tokens.load().accept(value) => Ok(Grant { secrets: true }),
            Some(_) => Err(Failure::unauthorised(
                "Bearer realm=\"neverstale\", error=\"invalid_token\"",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Peer = Peer::Tcp(std::net::SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        1,
    ));

    fn access(is_socket_token_required: bool) -> Access {
        let tokens = Tokens::parse(b"first\n\n  second \n").unwrap();
        Access {
            tokens: Some(Watched::fixed(tokens)),
            is_socket_token_required,
        }
    }

    fn judged(access: &Access, peer: Peer, authorization: Option<&'static str>) -> Option<bool> {
        let value = authorization.map(HeaderValue::from_static);
        access.judge(peer, value.as_ref()).ok().map(|grant| grant.secrets)
    }

    #[test]
    fn any_of_the_tokens_opens_everything_and_nothing_else_does() {
        let access = access(false);
        for right in ["Bearer first", "bearer second", "BEARER  second"] {
            assert_eq!(judged(&access, TCP, Some(right)), Some(true), "{right}");
        }
        for wrong in [
            "Bearer third",
            "Bearer",
            "Bearer ",
            "first",
            "Basic first",
            "Bearer first second",
            "Bearer firs",
        ] {
            assert_eq!(judged(&access, TCP, Some(wrong)), None, "{wrong}");
        }
        assert_eq!(judged(&access, TCP, None), None);
    }

    #[test]
    fn the_socket_needs_none_unless_it_is_told_to() {
        assert_eq!(judged(&access(false), Peer::Unix, None), Some(true));
        assert_eq!(judged(&access(true), Peer::Unix, None), None);
        assert_eq!(judged(&access(true), Peer::Unix, Some("Bearer first")), Some(true));
    }

    #[test]
    fn without_tokens_tcp_reads_but_sees_no_secrets() {
        let access = Access {
            tokens: None,
            is_socket_token_required: false,
        };
        assert_eq!(judged(&access, TCP, None), Some(false));
        assert_eq!(judged(&access, TCP, Some("Bearer whatever")), Some(false));
    }
}
