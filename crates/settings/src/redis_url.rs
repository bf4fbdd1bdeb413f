//! Brings the application's several variables for Redis into one URL.
//!
//! The application names a Sentinel by a plain URL plus a list of hosts; a client wants one URL that says it all.

use url::Url;

/// Gives one URL (`redis-sentinel://`, `redis-cluster://`, or the plain one as it is) out of the application's URL, its
/// list of Sentinels and its switch for Cluster.
///
/// In the application's URL for Sentinel the host is the name of the service. Whether the URL is one that we can use is
/// for whoever connects to say.
///
/// # Errors
/// What is wrong and what to write instead; never contains the URL.
pub fn normalise_redis_url(
    url: &str,
    sentinel_hosts: Option<&str>,
    sentinel_port: u16,
    cluster: bool,
) -> Result<String, String> {
    let url = url.trim();
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("there is no scheme; expected redis://host:6379/0")?;
    let tls = if matches!(scheme, "rediss" | "valkeys") {
        "rediss"
    } else {
        "redis"
    };
    if let Some(sentinels) = sentinel_hosts.filter(|hosts| !hosts.trim().is_empty()) {
        return sentinel_url(url, tls, sentinels, sentinel_port);
    }
    // An address that already says what it is stays as it is.
    let is_plain = matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys");
    Ok(if cluster && is_plain {
        format!("{tls}-cluster://{rest}")
    } else {
        url.to_owned()
    })
}

fn sentinel_url(url: &str, tls: &str, sentinels: &str, port: u16) -> Result<String, String> {
    let master = Url::parse(url).map_err(|error| format!("{error}; expected redis://:password@service:6379/0"))?;
    let with_port = |host: &str| {
        if host.contains(':') {
            host.to_owned()
        } else {
            format!("{host}:{port}")
        }
    };
    let mut nodes = sentinels
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
        .map(with_port);
    let first = nodes.next().ok_or("the list of Sentinels is empty")?;
    let credentials = match (master.username(), master.password()) {
        ("", None) => String::new(),
        (user, password) => format!("{user}:{}@", password.unwrap_or("")),
    };
    let service = master.host_str().unwrap_or("mymaster");
    let nodes: Vec<String> = nodes.map(|node| format!("node={node}&")).collect();
    let nodes = nodes.concat();
    Ok(format!(
        "{tls}-sentinel://{credentials}{first}{}?{nodes}sentinelServiceName={service}",
        master.path()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_applications_sentinel_form_becomes_one_url() {
        let url = normalise_redis_url("redis://user:pw@mymaster:6379/2", Some("a,b:26380"), 26379, false).unwrap();
        assert_eq!(
            url,
            "redis-sentinel://user:pw@a:26379/2?node=b:26380&sentinelServiceName=mymaster"
        );
    }

    #[test]
    fn plain_urls_stay_and_the_cluster_switch_shows() {
        let same = |url| assert_eq!(normalise_redis_url(url, None, 26379, false).unwrap(), url);
        same("redis://localhost:6379/0");
        same("rediss://:pw@cache:6380");
        same("redis-cluster://a:1/?node=b:2");
        same("redis+unix:///run/redis.sock");
        assert_eq!(
            normalise_redis_url("rediss://a:1", Some(""), 26379, true).unwrap(),
            "rediss-cluster://a:1"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        let error = normalise_redis_url("secret@b", None, 1, false).unwrap_err();
        assert!(error.contains("expected redis://") && !error.contains("secret"));
    }
}
