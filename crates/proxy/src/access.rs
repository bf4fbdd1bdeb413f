//! Who may ask, and who may be told secrets: a bearer token over TCP, the socket's file mode on the Unix socket.
//!
//! Tokens are compared by their MAC under a key of this process: it takes the same time whatever is presented.

use http::HeaderValue;
use ring::{hmac, rand::SystemRandom};

use crate::{listener::Peer, problem::Failure, watched::Watched};

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

/// The tokens of a file, all of which are accepted, so that they can be rotated.
pub struct Tokens {
    key: hmac::Key,
    tags: Vec<hmac::Tag>,
}

impl Tokens {
    /// Takes tokens from the text of a file, one a line.
    ///
    /// # Errors
    /// There is none, or one that no header can carry.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let tokens: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if tokens.is_empty() {
            return Err("it holds no token".to_owned());
        }
        if tokens
            .iter()
            .any(|token| !token.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err("a token contains something else than visible ASCII characters".to_owned());
        }
        let random = SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| "the system gives no random numbers".to_owned())?;
        let tags = tokens.iter().map(|token| hmac::sign(&key, token.as_bytes())).collect();
        Ok(Self { key, tags })
    }

    /// Says whether the value of an `Authorization` header carries one of the tokens.
    pub fn accept(&self, authorization: &HeaderValue) -> bool {
        let Some((scheme, token)) = authorization.as_bytes().split_at_checked(7) else {
            return false;
        };
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
        let token = token.trim_ascii();
        // No early end: which of the tokens it was is nobody's business.
        self.tags.iter().fold(false, |found, tag| {
            hmac::verify(&self.key, token, tag.as_ref()).is_ok() | found
        }) & is_bearer
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

    #[test]
    fn a_file_without_a_usable_token_is_refused() {
        assert!(Tokens::parse(b" \n").is_err());
        assert!(Tokens::parse(b"two words").is_err());
        assert!(Tokens::parse(&[0xff]).is_err());
    }
}
