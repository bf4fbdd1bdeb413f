//! Bearer tokens of a file: whoever presents one of them may have what its listener keeps for the trusted.
//!
//! Tokens are compared by their MAC under a key of this process: it takes the same time whatever is presented.

use http::HeaderValue;
use ring::{hmac, rand::SystemRandom};

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

    #[test]
    fn a_file_without_a_usable_token_is_refused() {
        assert!(Tokens::parse(b" \n").is_err());
        assert!(Tokens::parse(b"two words").is_err());
        assert!(Tokens::parse(&[0xff]).is_err());
    }
}
