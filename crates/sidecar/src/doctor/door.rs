//! Is the door the only way in, is the application behind it, and do both mean the same by a session?
//!
//! Asks the application two things that change nothing: for its health, and who it takes a session of nobody for. Whether it listens
//! elsewhere too is read from the kernel's list of sockets, which the containers of a pod share.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use neverstale_flavour::SessionRules;
use neverstale_identity::nobodys_token;
use neverstale_ingress::{IngressSettings, Networks};
use neverstale_lifecycle::Clock;
use neverstale_proxy::ApiSettings;

use super::Finding;
use crate::{
    caller::{Answer, Caller},
    settings::Settings,
};

/// Where the application says how it is, and who is asking; and what it says there of a session of nobody, and of a forged one.
const HEALTH: &str = "/health";
const OWN_SESSION: &str = "/api/v1/auths/";
const SIGNED_FOR_NOBODY: [&str; 2] = [
    "Your session has expired or the token is invalid",
    "Invalid authentication request",
];
const FORGED: &str = "401 Unauthorized";
const PATIENCE: Duration = Duration::from_secs(5);
/// The application's own start script makes twelve random bytes, which are sixteen characters.
const SECRET_BYTES_MIN: usize = 16;
/// What older releases of the application take where nothing is set; everybody knows it.
const WELL_KNOWN_SECRET: &[u8] = b"t0p-s3cr3t";

pub(super) async fn examine(settings: &Settings, sessions: Option<&SessionRules>) -> Vec<Finding> {
    let ingress = &settings.ingress;
    if ingress.listen.is_none() {
        return vec![Finding::ok(
            "door",
            "the sidecar does not stand in front of the application",
        )];
    }
    let address = ingress.upstream.trim_start_matches("http://").trim_end_matches('/');
    let mut findings = vec![
        upstream(
            ingress,
            Caller::of_application(address, None).get_within(HEALTH, PATIENCE).await,
        ),
        window(ingress, &listeners()),
        proxies(ingress),
    ];
    findings.push(match secret(&settings.api) {
        Err(reason) => Finding::fail("door.session_secret", reason, "name a file that can be read"),
        Ok(secret) => match strength(&secret) {
            Some(finding) => finding,
            None => agreement(&secret, sessions, address).await,
        },
    });
    findings
}

fn upstream(ingress: &IngressSettings, answered: anyhow::Result<Answer>) -> Finding {
    const CHECK: &str = "door.upstream";
    let place = &ingress.upstream;
    match answered {
        Ok(Answer { status: 200, .. }) => Finding::ok(CHECK, format!("the application at {place} is well")),
        Ok(answer) => Finding::warn(
            CHECK,
            format!("{place} answers {} where the application says how it is", answer.status),
            "see that ingress.upstream leads to the application, and that it has started",
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("the application can't be reached at {place}: {error:#}"),
            "start it, or correct ingress.upstream; until then the door answers 502",
        ),
    }
}

/// Where the application listens besides, if the door looks for it on loopback.
fn window(ingress: &IngressSettings, listening: &[(IpAddr, u16)]) -> Finding {
    const CHECK: &str = "door.window";
    let place = &ingress.upstream;
    let rest = place.trim_start_matches("http://").trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "80"));
    let host = host.trim_matches(['[', ']']);
    let is_near = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if !is_near {
        return Finding::warn(
            CHECK,
            format!("the application is at {place}, and whoever reaches that gets around the door"),
            "put both into one pod with the application on loopback, or let a network policy keep others away",
        );
    }
    let port: Option<u16> = port.parse().ok();
    let mut at: Vec<IpAddr> = listening
        .iter()
        .filter(|(_, other)| Some(*other) == port)
        .map(|(address, _)| *address)
        .collect();
    if at.is_empty() {
        return Finding::warn(
            CHECK,
            "where the application listens can't be seen here",
            "ask in its pod, once it has started: doctor reads /proc/net/tcp",
        );
    }
    at.retain(|address| !address.to_canonical().is_loopback());
    let open: Vec<String> = at.iter().map(IpAddr::to_string).collect();
    if open.is_empty() {
        Finding::ok(CHECK, "the application listens on loopback alone")
    } else {
        Finding::fail(
            CHECK,
            format!(
                "the application listens on {} too: callers can get around the door",
                open.join(" and ")
            ),
            "start it with HOST=127.0.0.1",
        )
    }
}

fn proxies(ingress: &IngressSettings) -> Finding {
    const CHECK: &str = "door.trusted_proxies";
    match Networks::parse(&ingress.trusted_proxies) {
        Err(reason) => Finding::fail(CHECK, reason, "write networks as 10.0.0.0/8, separated by commas"),
        Ok(networks) if networks.are_too_wide() => Finding::fail(
            CHECK,
            format!(
                "`{}` is more than one house: strangers may say who they are",
                ingress.trusted_proxies
            ),
            "name the load balancer's own addresses",
        ),
        Ok(networks) if networks.is_empty() => Finding::ok(
            CHECK,
            format!(
                "nobody is believed about others; a load balancer in front would be one caller, with {} connections at most",
                ingress.connections_per_client_max
            ),
        ),
        Ok(_) => Finding::ok(CHECK, format!("{} are believed about others", ingress.trusted_proxies)),
    }
}

fn secret(api: &ApiSettings) -> Result<Vec<u8>, String> {
    match (&api.session_secret, &api.session_secret_file) {
        (Some(secret), _) => Ok(secret.expose().as_bytes().to_vec()),
        (None, Some(file)) => fs::read(file)
            .map(|secret| secret.trim_ascii().to_vec())
            .map_err(|error| format!("{}: {error}", file.display())),
        (None, None) => Err("there is none".to_owned()),
    }
}

/// What is wrong with a secret by itself.
fn strength(secret: &[u8]) -> Option<Finding> {
    const CHECK: &str = "door.session_secret";
    const NEXT_STEP: &str =
        "give the application and the sidecar a new one (openssl rand -hex 32); everybody signs in again";
    if secret == WELL_KNOWN_SECRET {
        let what = "it is the one that the application takes where none is set, and everybody can sign with it";
        return Some(Finding::fail(CHECK, what, NEXT_STEP));
    }
    let is_short = secret.len() < SECRET_BYTES_MIN;
    is_short.then(|| Finding::warn(CHECK, format!("{} bytes can be guessed", secret.len()), NEXT_STEP))
}

/// Shows the application a session of nobody, signed with our secret: it answers otherwise to one that it takes for forged.
async fn agreement(secret: &[u8], sessions: Option<&SessionRules>, address: &str) -> Finding {
    const CHECK: &str = "door.session_secret";
    let Some(rules) = sessions else {
        let what = "whether the application has the same can't be asked without its schema";
        return Finding::warn(CHECK, what, "mend what is said of the database and the schema");
    };
    let token = nobodys_token(secret, rules, Clock::system().wall_ms());
    let application = Caller::of_application(address, token);
    match application.get_within(OWN_SESSION, PATIENCE).await {
        Ok(answer) => agreed(&answer),
        Err(_) => Finding::warn(
            CHECK,
            "whether the application has the same can't be asked",
            "see door.upstream",
        ),
    }
}

fn agreed(answer: &Answer) -> Finding {
    const CHECK: &str = "door.session_secret";
    let says = |text: &str| String::from_utf8_lossy(&answer.body).contains(text);
    match answer.status {
        401 if SIGNED_FOR_NOBODY.into_iter().any(says) => {
            Finding::ok(CHECK, "the application verifies what is signed with ours")
        }
        401 if says(FORGED) => Finding::fail(
            CHECK,
            "the application takes what is signed with ours for forged: nobody is known at the door",
            "give the sidecar the application's WEBUI_SECRET_KEY",
        ),
        status => Finding::warn(
            CHECK,
            format!("the application answers {status} to a session of nobody, which says nothing about its secret"),
            "sign in through the door; neverstale_ingress_callers_total{caller=\"pretender\"} counts sessions that don't fit",
        ),
    }
}

/// All sockets of this network that listen; none where the kernel does not say.
fn listeners() -> Vec<(IpAddr, u16)> {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let mut found = listening(&read("/proc/net/tcp"));
    found.extend(listening(&read("/proc/net/tcp6")));
    found
}

/// Reads the kernel's table of sockets. Source: proc(5), `/proc/net/tcp`: the address in hexadecimal, in words of the machine's own order.
fn listening(table: &str) -> Vec<(IpAddr, u16)> {
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (address, port) = words.next()?.split_once(':')?;
        (words.nth(1)? == LISTEN).then_some(())?;
        let word = |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok();
        let address = match address.len() {
            8 => IpAddr::V4(Ipv4Addr::from(word(0)?.to_ne_bytes())),
            32 => {
                let mut bytes = [0; 16];
                for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                    four.copy_from_slice(&word(at)?.to_ne_bytes());
                }
                IpAddr::V6(Ipv6Addr::from(bytes))
            }
            _ => return None,
        };
        Some((address, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().filter_map(socket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn ingress(upstream: &str, trusted_proxies: &str) -> IngressSettings {
        IngressSettings {
            upstream: upstream.to_owned(),
            trusted_proxies: trusted_proxies.to_owned(),
            ..IngressSettings::default()
        }
    }

    #[test]
    fn an_application_that_listens_besides_is_an_open_window() {
        let near = ingress("http://127.0.0.1:8080", "");
        let level = |listening: &[(&str, u16)]| {
            let listening: Vec<_> = listening
                .iter()
                .map(|(address, port)| (address.parse().unwrap(), *port))
                .collect();
            window(&near, &listening).level
        };
        assert_eq!(level(&[("127.0.0.1", 8080), ("0.0.0.0", 7382)]), Grade::Ok);
        assert_eq!(level(&[("::1", 8080), ("::ffff:127.0.0.1", 8080)]), Grade::Ok);
        assert_eq!(level(&[("0.0.0.0", 8080)]), Grade::Fail);
        assert_eq!(level(&[("127.0.0.1", 8080), ("::", 8080)]), Grade::Fail);
        assert_eq!(level(&[("10.0.0.7", 8080)]), Grade::Fail);
        assert_eq!(level(&[("0.0.0.0", 7382)]), Grade::Warn);
        assert_eq!(window(&ingress("http://app:8080", ""), &[]).level, Grade::Warn);
    }

    #[test]
    fn the_kernels_table_is_read() {
        if cfg!(target_endian = "big") {
            return;
        }
        let table = "  sl  local_address rem_address   st tx_queue\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   \
            1: 00000000:1CD6 00000000:0000 0A 00000000:00000000\n   \
            2: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000\n";
        let found = |address: &str, port| (address.parse().unwrap(), port);
        assert_eq!(listening(table), [found("127.0.0.1", 8080), found("0.0.0.0", 7382)]);
        let six = "   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(listening(six), [found("::1", 8080)]);
    }

    #[test]
    fn proxies_that_are_everybody_and_secrets_that_everybody_knows_fail() {
        let level = |proxies| super::proxies(&ingress("http://127.0.0.1:8080", proxies)).level;
        assert_eq!((level(""), level("10.0.0.0/8")), (Grade::Ok, Grade::Ok));
        assert_eq!((level("0.0.0.0/0"), level("a.b")), (Grade::Fail, Grade::Fail));
        let level = |secret: &str| strength(secret.as_bytes()).map(|finding| finding.level);
        assert_eq!(
            (level("t0p-s3cr3t"), level("short")),
            (Some(Grade::Fail), Some(Grade::Warn))
        );
        assert_eq!(level("QzL0bX9u3Kf1T7aa"), None);
    }

    #[test]
    fn the_application_knows_a_forged_session_from_one_of_nobody() {
        let level = |status, body: &'static str| {
            let answer = Answer {
                status,
                position: None,
                is_hit: false,
                body: body.into(),
            };
            agreed(&answer).level
        };
        let nobody = r#"{"detail":"Your session has expired or the token is invalid. Please sign in again."}"#;
        assert_eq!(level(401, nobody), Grade::Ok);
        assert_eq!(level(401, r#"{"detail":"Invalid authentication request."}"#), Grade::Ok);
        assert_eq!(level(401, r#"{"detail":"401 Unauthorized"}"#), Grade::Fail);
        assert_eq!(level(200, "{}"), Grade::Warn);
    }
}
