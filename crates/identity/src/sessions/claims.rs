//! What a session token claims, once its signature is right.
//!
//! Pure: key, token and time in, claims or nothing out. The checks are those of the application's library: a token without
//! expiry does not expire, one from the future or for another audience is refused.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use neverstale_flavour::SessionRules;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Checks signatures.
pub(crate) struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

/// What the application demands of a second factor, and whether the account has one.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Mfa {
    enabled: bool,
    oauth_bypass: bool,
    trusted_header_bypass: bool,
    ready: bool,
}

/// The only `typ` that is a session; the application signs tokens for other ends with the same key.
const SESSION_TYPE: &str = "session";

/// What a token with a right signature claims.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims {
    pub(crate) user_id: String,
    /// Null where there is none.
    pub(crate) stamp: Value,
    /// `jti`.
    pub(crate) token_id: Option<String>,
    /// How the user signed in; empty where the token does not say.
    auth_method: String,
    is_mfa_verified: bool,
    issued_at: Option<f64>,
    expires_at: Option<f64>,
    /// A time that is there but no number: such a token is never timely.
    has_bad_time: bool,
}

impl Verifier {
    /// Checks signatures made with `secret`. None for an algorithm that does not sign with a shared secret.
    pub(crate) fn new(secret: &[u8], algorithm: &str) -> Option<Self> {
        let mut validation = Validation::new(shared_secret(algorithm)?);
        validation.required_spec_claims.clear();
        // Times are judged by our own clock, to the second and without leeway.
        validation.validate_exp = false;
        validation.validate_nbf = true;
        validation.leeway = 0;
        Some(Self {
            key: DecodingKey::from_secret(secret),
            validation,
        })
    }

    /// Gives the claims of a token, or nothing where anything about it is wrong.
    pub(crate) fn verify(&self, token: &str, rules: &SessionRules) -> Option<Claims> {
        let claims = decode::<Map<String, Value>>(token, &self.key, &self.validation)
            .ok()?
            .claims;
        if claims.get("typ").is_some_and(|kind| kind != SESSION_TYPE) {
            return None;
        }
        let time = |name: &str| claims.get(name).filter(|time| !time.is_null());
        let times = [time("exp"), time("iat")];
        Some(Claims {
            user_id: claims.get(&rules.id_claim)?.as_str()?.to_owned(),
            stamp: rules
                .stamp_claim
                .as_ref()
                .and_then(|name| claims.get(name))
                .cloned()
                .unwrap_or_default(),
            token_id: claims.get("jti").and_then(Value::as_str).map(str::to_owned),
            auth_method: claims
                .get("auth_method")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            is_mfa_verified: claims.get("mfa_verified").and_then(Value::as_bool).unwrap_or_default(),
            issued_at: times[1].and_then(Value::as_f64),
            expires_at: times[0].and_then(Value::as_f64),
            has_bad_time: times.into_iter().flatten().any(|time| !time.is_number()),
        })
    }
}

fn shared_secret(algorithm: &str) -> Option<Algorithm> {
    match algorithm {
        "HS256" => Some(Algorithm::HS256),
        "HS384" => Some(Algorithm::HS384),
        "HS512" => Some(Algorithm::HS512),
        _ => None,
    }
}

/// Signs a session of a user that no application has.
pub(super) fn sign(secret: &[u8], rules: &SessionRules, now: i64) -> Option<String> {
    const NOBODY: &str = "neverstale-doctor";
    let header = Header::new(shared_secret(&rules.algorithm)?);
    let claims = json!({ &rules.id_claim: NOBODY, "jti": NOBODY, "iat": now, "exp": now + 60 });
    encode(&header, &claims, &EncodingKey::from_secret(secret)).ok()
}

impl Claims {
    /// Says whether the token is neither expired nor from the future.
    pub(crate) fn are_timely(&self, wall_ms: i64) -> bool {
        let now = wall_ms as f64 / 1_000.0;
        let is_expired = self.expires_at.is_some_and(|end| end <= now);
        let is_of_the_future = self.issued_at.is_some_and(|begin| begin.floor() > now);
        !self.has_bad_time && !is_expired && !is_of_the_future
    }

    /// Says whether the session has the second factor that is demanded of it.
    pub(crate) fn satisfies(&self, mfa: Mfa) -> bool {
        let is_excused = match self.auth_method.as_str() {
            "oauth" => mfa.oauth_bypass,
            "trusted_header" => mfa.trusted_header_bypass,
            _ => false,
        };
        !mfa.enabled || is_excused || (self.is_mfa_verified && mfa.ready)
    }

    /// Says whether all sessions of the user up to the given second, as the application wrote it, include this one; none when
    /// what was written is no number.
    pub(crate) fn is_revoked_by(&self, revoked_at: &[u8]) -> Option<bool> {
        let revoked_at: f64 = std::str::from_utf8(revoked_at)
            .ok()?
            .trim()
            .parse()
            .ok()
            .filter(|second: &f64| second.is_finite())?;
        Some(self.issued_at.is_none_or(|issued_at| issued_at <= revoked_at))
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;
    const NOW: i64 = NOW_MS / 1_000;

    fn rules() -> SessionRules {
        SessionRules {
            algorithm: "HS256".into(),
            id_claim: "id".into(),
            stamp_claim: Some("stamp".into()),
            view: "session".into(),
            revocation: true,
        }
    }

    fn token(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
        encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(secret.as_bytes()),
        )
        .unwrap()
    }

    fn verified(token: &str) -> Option<Claims> {
        Verifier::new(b"s3cret", "HS256").unwrap().verify(token, &rules())
    }

    fn claims(claims: &Value) -> Option<Claims> {
        verified(&token(Algorithm::HS256, "s3cret", claims))
    }

    #[test]
    fn only_the_right_key_and_algorithm_open_a_token() {
        let content = json!({"id": "u1", "stamp": "s", "jti": "t", "exp": NOW + 1, "iat": NOW});
        let claims = claims(&content).unwrap();
        assert_eq!(
            (claims.user_id.as_str(), claims.token_id.as_deref(), &claims.stamp),
            ("u1", Some("t"), &json!("s"))
        );
        assert!(claims.are_timely(NOW_MS));
        assert!(verified(&token(Algorithm::HS256, "other", &content)).is_none());
        assert!(verified(&token(Algorithm::HS512, "s3cret", &content)).is_none());
        let unsigned = "eyJhbGciOiJub25lIn0.eyJpZCI6InUxIn0.";
        for wrong in ["", "a.b.c", unsigned] {
            assert!(verified(wrong).is_none(), "{wrong}");
        }
        assert!(Verifier::new(b"s3cret", "RS256").is_none());
    }

    #[test]
    fn times_are_kept_to_the_second() {
        let is_timely = |content: Value| claims(&content).is_some_and(|claims| claims.are_timely(NOW_MS));
        assert!(is_timely(json!({"id": "u1"})), "without expiry it does not expire");
        assert!(is_timely(json!({"id": "u1", "exp": NOW + 1, "iat": NOW})));
        assert!(!is_timely(json!({"id": "u1", "exp": NOW})));
        assert!(!is_timely(json!({"id": "u1", "iat": NOW + 2})));
        assert!(!is_timely(json!({"id": "u1", "exp": "tomorrow"})));
        assert!(claims(&json!({"exp": NOW + 1})).is_none(), "without an id");
        assert!(claims(&json!({"id": 7})).is_none());
        assert!(claims(&json!({"id": "u1", "aud": "someone else"})).is_none());
    }

    #[test]
    fn a_token_for_another_end_is_no_session() {
        assert!(claims(&json!({"id": "u1", "typ": "session"})).is_some());
        for other in [json!("terminal"), json!(""), json!(null), json!(1)] {
            assert!(claims(&json!({"id": "u1", "typ": other})).is_none());
        }
    }

    #[test]
    fn a_second_factor_is_demanded_where_the_application_does() {
        let demanding = Mfa {
            enabled: true,
            oauth_bypass: true,
            trusted_header_bypass: false,
            ready: true,
        };
        let satisfies = |content: Value, mfa: Mfa| claims(&content).unwrap().satisfies(mfa);
        assert!(satisfies(
            json!({"id": "u1"}),
            Mfa {
                enabled: false,
                ..demanding
            }
        ));
        assert!(!satisfies(json!({"id": "u1"}), demanding));
        assert!(satisfies(json!({"id": "u1", "mfa_verified": true}), demanding));
        assert!(!satisfies(
            json!({"id": "u1", "mfa_verified": true}),
            Mfa {
                ready: false,
                ..demanding
            }
        ));
        assert!(satisfies(json!({"id": "u1", "auth_method": "oauth"}), demanding));
        assert!(!satisfies(
            json!({"id": "u1", "auth_method": "trusted_header"}),
            demanding
        ));
    }

    #[test]
    fn a_revocation_takes_the_sessions_that_were_there_and_those_without_a_date() {
        let of = |content: Value, revoked_at: &str| claims(&content).unwrap().is_revoked_by(revoked_at.as_bytes());
        assert_eq!(of(json!({"id": "u1", "iat": NOW}), &NOW.to_string()), Some(true));
        assert_eq!(of(json!({"id": "u1", "iat": NOW}), &(NOW - 1).to_string()), Some(false));
        assert_eq!(of(json!({"id": "u1"}), "5"), Some(true));
        assert_eq!(of(json!({"id": "u1", "iat": NOW}), "yesterday"), None);
    }
}
