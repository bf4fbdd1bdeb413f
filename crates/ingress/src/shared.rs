//! What all connections of the door share.

use std::{
    net::IpAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::HeaderName;
use neverstale_guard::callers::Callers;
use neverstale_identity::Identity;
use neverstale_lifecycle::{CancellationToken, Tasks};
use neverstale_listener::Peer;
use neverstale_telemetry::Metrics;

use crate::{
    IngressError, IngressSettings, clients::Clients, guard::Guard, networks::Networks, outgoing::Origin,
    upstream::Upstream, whole::Room,
};

pub(crate) struct Shared {
    pub(crate) guard: Arc<Guard>,
    pub(crate) callers: Arc<Callers>,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: Tasks,
    pub(crate) clients: Arc<Clients>,
    pub(crate) rules: Rules,
    pub(crate) room: Room,
    pub(crate) is_draining: Arc<AtomicBool>,
    /// Cancelled when draining begins: tunnels end soon after.
    pub(crate) drain: CancellationToken,
}

/// The settings, read.
pub(crate) struct Rules {
    pub(crate) trusted_proxies: Networks,
    pub(crate) is_tls: bool,
    pub(crate) body_bytes_max: u64,
    pub(crate) connections_per_client_max: u32,
    pub(crate) decision: Duration,
    pub(crate) idle: Duration,
}

impl Rules {
    pub(crate) fn read(settings: &IngressSettings) -> Result<Self, IngressError> {
        let trusted_proxies = Networks::parse(&settings.trusted_proxies);
        Ok(Self {
            trusted_proxies: trusted_proxies.map_err(|reason| wrong("ingress.trusted_proxies", reason))?,
            is_tls: settings.tls_cert_file.is_some(),
            body_bytes_max: settings.body_bytes_max,
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

impl IngressSettings {
    /// Makes what finds out who asks.
    ///
    /// # Errors
    /// A setting is not what it should be.
    pub fn callers(&self, identity: Arc<Identity>, metrics: Arc<Metrics>) -> Result<Callers, IngressError> {
        let identity_headers = words(&self.identity_headers).map(name).collect::<Result<_, _>>();
        Ok(Callers {
            identity,
            api_key_header: name(&self.api_key_header).map_err(|reason| wrong("ingress.api_key_header", reason))?,
            foreign_credentials: words(&self.foreign_credentials).map(str::to_owned).collect(),
            identity_headers: identity_headers.map_err(|reason| wrong("ingress.identity_headers", reason))?,
            metrics,
        })
    }
}

fn wrong(setting: &'static str, reason: String) -> IngressError {
    IngressError::Setting { setting, reason }
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
    fn a_list_is_read_and_what_is_wrong_is_named() {
        let names = words(&IngressSettings::default().identity_headers)
            .map(name)
            .collect::<Result<Vec<_>, _>>();
        let names = names.unwrap();
        assert!(names.contains(&HeaderName::from_static("x-openwebui-user-id")) && names.len() > 20);
        assert!(name("a b").unwrap_err().contains("`a b`") && name("").is_err());
        let settings = IngressSettings {
            trusted_proxies: "x".into(),
            ..IngressSettings::default()
        };
        let error = Rules::read(&settings).err().unwrap();
        assert!(error.to_string().contains("ingress.trusted_proxies"));
    }
}
