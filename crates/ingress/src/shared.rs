//! What all connections of the door share.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::HeaderName;
use neverstale_identity::Identity;
use neverstale_lifecycle::{CancellationToken, Tasks};
use neverstale_listener::Peer;
use neverstale_telemetry::Metrics;

use crate::{
    IngressError, IngressSettings, clients::Clients, guard::Guard, networks::Networks, outgoing::Origin,
    upstream::Upstream,
};

pub(crate) struct Shared {
    pub(crate) guard: Guard,
    pub(crate) identity: Arc<Identity>,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Tasks,
    pub(crate) clients: Arc<Clients>,
    pub(crate) rules: Rules,
    pub(crate) is_draining: Arc<AtomicBool>,
    /// Cancelled when draining begins: tunnels end soon after.
    pub(crate) drain: CancellationToken,
}

/// The settings, read.
pub(crate) struct Rules {
    pub(crate) trusted_proxies: Networks,
    pub(crate) identity_headers: Vec<HeaderName>,
    pub(crate) api_key_header: HeaderName,
    pub(crate) foreign_credentials: Vec<String>,
    pub(crate) is_tls: bool,
    pub(crate) body_bytes_max: u64,
    pub(crate) judged_bytes_max: u64,
    pub(crate) connections_per_client_max: u32,
    pub(crate) decision: Duration,
    pub(crate) idle: Duration,
}

impl Rules {
    pub(crate) fn read(settings: &IngressSettings) -> Result<Self, IngressError> {
        let wrong = |setting, reason| IngressError::Setting { setting, reason };
        let trusted_proxies = Networks::parse(&settings.trusted_proxies);
        let identity_headers = words(&settings.identity_headers).map(name).collect::<Result<_, _>>();
        Ok(Self {
            trusted_proxies: trusted_proxies.map_err(|reason| wrong("ingress.trusted_proxies", reason))?,
            identity_headers: identity_headers.map_err(|reason| wrong("ingress.identity_headers", reason))?,
            api_key_header: name(&settings.api_key_header).map_err(|reason| wrong("ingress.api_key_header", reason))?,
            foreign_credentials: words(&settings.foreign_credentials).map(str::to_owned).collect(),
            is_tls: settings.tls_cert_file.is_some(),
            body_bytes_max: settings.body_bytes_max,
            judged_bytes_max: settings.judged_bytes_max.min(settings.body_bytes_max),
            connections_per_client_max: settings.connections_per_client_max,
            decision: Duration::from_millis(settings.decision_ms),
            idle: Duration::from_secs(settings.idle_seconds),
        })
    }

    pub(crate) fn origin(&self, peer: Peer) -> Origin {
        let address = address(peer);
        Origin {
            address,
            is_trusted: address.is_none_or(|address| self.trusted_proxies.contain(address)),
            is_tls: self.is_tls,
        }
    }
}

/// The address of a peer; none over a Unix socket.
pub(crate) fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Tcp(address) => Some(address.ip()),
        Peer::Unix => None,
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn name(word: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(word.trim().as_bytes()).map_err(|_| format!("`{word}` is no name of a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_read_and_what_is_wrong_is_named() {
        let rules = Rules::read(&IngressSettings::default()).unwrap();
        assert!(
            rules
                .identity_headers
                .contains(&HeaderName::from_static("x-openwebui-user-id"))
        );
        assert!(rules.identity_headers.len() > 20);
        for (settings, named) in [
            (
                IngressSettings {
                    trusted_proxies: "x".into(),
                    ..IngressSettings::default()
                },
                "ingress.trusted_proxies",
            ),
            (
                IngressSettings {
                    identity_headers: "a b".into(),
                    ..IngressSettings::default()
                },
                "ingress.identity_headers",
            ),
            (
                IngressSettings {
                    api_key_header: String::new(),
                    ..IngressSettings::default()
                },
                "ingress.api_key_header",
            ),
        ] {
            assert!(Rules::read(&settings).err().unwrap().to_string().contains(named));
        }
    }
}
