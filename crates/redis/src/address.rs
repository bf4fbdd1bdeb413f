//! Reads a Redis URL as applications write it: one host, a Unix socket, Sentinels, or a Cluster; in the clear or with TLS.
//!
//! Pure. Understands the forms of redis-py, of the application's environment (brought into one URL by `settings`) and of other
//! clients; parameters that tune those clients are ignored. No error and no text of ours contains a credential.

use std::{fmt, path::PathBuf};

use neverstale_settings::Secret;
use percent_encoding::percent_decode_str;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
const SERVICE_DEFAULT: &str = "mymaster";

/// Where Redis is and how to log in.
#[derive(Clone, Debug)]
pub struct Address {
    /// What answers there.
    pub target: Target,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// A file of authorities that the URL names.
    pub tls_ca_file: Option<PathBuf>,
    /// The user, if not the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The database; a Cluster has only 0.
    pub database: u8,
    /// The Sentinels' user, if they have one.
    pub sentinel_username: Option<String>,
    /// The Sentinels' password, if they have one.
    pub sentinel_password: Option<Secret>,
}

/// What answers at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One server.
    Host(Host),
    /// One server behind a Unix socket.
    Socket(PathBuf),
    /// Sentinels that know who the primary is.
    Sentinel {
        /// At least one.
        hosts: Vec<Host>,
        /// What they call the primary.
        service: String,
    },
    /// Nodes of a Cluster, which know the others.
    Cluster(Vec<Host>),
}

/// A name or IP address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without the brackets of IPv6.
    pub name: String,
    /// The port.
    pub port: u16,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Host,
    Socket,
    Sentinel,
    Cluster,
}

impl Address {
    /// Reads a URL.
    ///
    /// # Errors
    /// What is wrong and what to write instead, without the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url
            .trim()
            .split_once("://")
            .ok_or("there is no scheme; write redis://host:6379/0")?;
        let (form, tls) = form_of(scheme)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (username, password) = credentials.split_once(':').unwrap_or((credentials, ""));

        let port_default = if form == Form::Sentinel {
            SENTINEL_PORT
        } else {
            REDIS_PORT
        };
        let mut address = Self {
            target: Target::Socket(PathBuf::from(decode(path)?)),
            tls,
            tls_ca_file: None,
            username: Some(decode(username)?).filter(|name| !name.is_empty()),
            password: Some(decode(password)?)
                .filter(|password| !password.is_empty())
                .map(Secret::new),
            database: 0,
            sentinel_username: None,
            sentinel_password: None,
        };
        let mut nodes = Vec::new();
        let mut service = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decode(value)?;
            match name {
                "db" => address.database = database(&value)?,
                "node" => nodes.push(host(&value, port_default)?),
                "sentinelServiceName" | "service" | "service_name" => service = Some(value),
                "sentinelUsername" => address.sentinel_username = Some(value),
                "sentinelPassword" => address.sentinel_password = Some(Secret::new(value)),
                "ssl_ca_certs" => address.tls_ca_file = Some(PathBuf::from(value)),
                "ssl_cert_reqs" if value.eq_ignore_ascii_case("none") => {
                    return Err(
                        "ssl_cert_reqs=none is not supported; name the authority in redis.tls_ca_file".to_owned(),
                    );
                }
                _ => {}
            }
        }
        if form == Form::Socket {
            return if path.len() > 1 {
                Ok(address)
            } else {
                Err("a socket needs a path: redis+unix:///run/redis.sock".to_owned())
            };
        }
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match database(segment) {
                Ok(number) => address.database = number,
                Err(_) if form == Form::Sentinel && service.is_none() => service = Some(decode(segment)?),
                Err(error) => return Err(error),
            }
        }
        let listed = hosts
            .split(',')
            .filter(|listed| !listed.is_empty())
            .map(|listed| host(listed, port_default));
        let hosts = listed.chain(nodes.into_iter().map(Ok)).collect::<Result<Vec<_>, _>>()?;
        let first = hosts
            .first()
            .cloned()
            .ok_or("there is no host; write redis://host:6379/0")?;
        address.target = match form {
            Form::Sentinel => Target::Sentinel {
                hosts,
                service: service.unwrap_or_else(|| SERVICE_DEFAULT.to_owned()),
            },
            Form::Cluster => Target::Cluster(hosts),
            Form::Host | Form::Socket if hosts.len() > 1 => {
                return Err("there are several hosts; write redis-sentinel:// or redis-cluster://".to_owned());
            }
            Form::Host | Form::Socket => Target::Host(first),
        };
        Ok(address)
    }
}

impl Target {
    /// Gives the kind in words, for status and reports.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Host(_) => "one host",
            Self::Socket(_) => "unix socket",
            Self::Sentinel { .. } => "sentinel",
            Self::Cluster(_) => "cluster",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |hosts: &[Host]| hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::Host(host) => write!(f, "{host}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Sentinel { hosts, service } => write!(f, "{service} of sentinel {}", list(hosts)),
            Self::Cluster(hosts) => write!(f, "cluster {}", list(hosts)),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

fn form_of(scheme: &str) -> Result<(Form, bool), String> {
    Ok(match scheme {
        "redis" | "valkey" => (Form::Host, false),
        "rediss" | "valkeys" => (Form::Host, true),
        "unix" | "redis+unix" | "redis+socket" | "valkey+unix" => (Form::Socket, false),
        "redis-sentinel" | "redis+sentinel" | "valkey-sentinel" => (Form::Sentinel, false),
        "rediss-sentinel" | "rediss+sentinel" | "valkeys-sentinel" => (Form::Sentinel, true),
        "redis-cluster" | "redis+cluster" | "valkey-cluster" => (Form::Cluster, false),
        "rediss-cluster" | "rediss+cluster" | "valkeys-cluster" => (Form::Cluster, true),
        _ => {
            return Err("the scheme is unknown; write redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://".to_owned());
        }
    })
}

fn host(text: &str, port_default: u16) -> Result<Host, String> {
    let wrong = || "a host is malformed; write name, name:port or [address]:port".to_owned();
    let (name, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (name, port) = bracketed.split_once(']').ok_or_else(wrong)?;
            (
                name,
                port.strip_prefix(':')
                    .or((port.is_empty()).then_some(""))
                    .ok_or_else(wrong)?,
            )
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() {
        port_default
    } else {
        port.parse().map_err(|_| wrong())?
    };
    if name.is_empty() {
        Err(wrong())
    } else {
        Ok(Host {
            name: name.to_owned(),
            port,
        })
    }
}

fn database(text: &str) -> Result<u8, String> {
    text.parse()
        .map_err(|_| "the database is not a number from 0 to 255".to_owned())
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "a percent-encoded part is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(url: &str) -> String {
        let address = Address::parse(url).unwrap();
        let tls = if address.tls { " tls" } else { "" };
        let user = address.username.map(|name| format!(" user={name}")).unwrap_or_default();
        let password = address
            .password
            .map(|password| format!(" password={}", password.expose()))
            .unwrap_or_default();
        format!("{}/{}{tls}{user}{password}", address.target, address.database)
    }

    #[test]
    fn the_forms_of_applications_are_understood() {
        for (url, expected) in [
            ("redis://localhost", "localhost:6379/0"),
            ("redis://localhost:6380/3", "localhost:6380/3"),
            (" redis://:p%40ss@h/ ", "h:6379/0 password=p@ss"),
            (
                "rediss://user:a:b@h:1/2?ssl_cert_reqs=required",
                "h:1/2 tls user=user password=a:b",
            ),
            ("redis://[::1]:7/1", "[::1]:7/1"),
            ("redis://h?db=4&health_check_interval=30", "h:6379/4"),
            ("redis+unix:///run/redis%20a.sock?db=1", "/run/redis a.sock/1"),
            ("unix://:pw@/run/r.sock", "/run/r.sock/0 password=pw"),
            ("redis-sentinel://a", "mymaster of sentinel a:26379/0"),
            (
                "redis-sentinel://u:p@a:1/2?node=b:2&node=c&sentinelServiceName=m",
                "m of sentinel a:1,b:2,c:26379/2 user=u password=p",
            ),
            ("redis+sentinel://a:1,b:2/main/5", "main of sentinel a:1,b:2/5"),
            ("rediss-cluster://a:1,[::2]:2", "cluster a:1,[::2]:2/0 tls"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn mistakes_are_explained_without_the_password() {
        for url in [
            "localhost:6379",
            "http://user:hunter2@h",
            "redis://user:hunter2@",
            "redis://user:hunter2@h:port",
            "redis://user:hunter2@h/x",
            "redis://user:hunter2@h/256",
            "redis://user:hunter2@a,b",
            "redis://user:hunter2@[::1",
            "redis+unix://user:hunter2@",
            "rediss://user:hunter2@h?ssl_cert_reqs=none",
            "redis://user:hunter2%ff@h",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(!format!("{:?}", Address::parse("redis://:hunter2@h").unwrap()).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(redis(s|-sentinel|-cluster|\\+unix)?://)?\\PC*") {
            let _ = Address::parse(&text);
        }
    }
}
