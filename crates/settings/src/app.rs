//! The variables that the application beside us already has: whoever set those need not set ours.
//!
//! They rank above the settings file and below our own variables, and a sidecar started with the application's
//! environment alone finds its stores.

use std::collections::HashMap;

use url::form_urlencoded::byte_serialize;

use crate::{
    merged::Merged,
    problems::{Place, Problems},
    redis_url::normalise_redis_url,
};

/// Adds what `DATABASE_URL` (or its parts), `DATABASE_SCHEMA`, `REDIS_URL`, `REDIS_SENTINEL_HOSTS`,
/// `REDIS_SENTINEL_PORT`, `REDIS_CLUSTER` and `REDIS_KEY_PREFIX` say, for those settings that are declared.
pub fn app_environment(merged: &mut Merged, variables: &[(String, String)], problems: &mut Problems) {
    let variables: HashMap<&str, &str> = variables
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let get = |name: &str| variables.get(name).copied();
    let mut add = |path: &str, text: &str, name: &str| {
        if merged.declares(path) {
            merged.add_text(path, text, Place::Variable(name.to_owned()));
        }
    };
    if let Some(url) = get("DATABASE_URL") {
        add("database.url", url, "DATABASE_URL");
    } else if let Some(url) = url_of_parts(&get) {
        add("database.url", &url, "DATABASE_HOST");
    }
    if let Some(schema) = get("DATABASE_SCHEMA") {
        add("database.app_schema", schema, "DATABASE_SCHEMA");
    }
    if let Some(prefix) = get("REDIS_KEY_PREFIX") {
        add("redis.app_key_prefix", prefix, "REDIS_KEY_PREFIX");
    }
    let Some(url) = get("REDIS_URL") else { return };
    let port = get("REDIS_SENTINEL_PORT").unwrap_or("26379").parse();
    let cluster = get("REDIS_CLUSTER").is_some_and(|switch| switch.eq_ignore_ascii_case("true"));
    let url = match port {
        Ok(port) => normalise_redis_url(url, get("REDIS_SENTINEL_HOSTS"), port, cluster)
            .map_err(|reason| ("REDIS_URL", "redis.url", reason)),
        Err(_) => Err(("REDIS_SENTINEL_PORT", "", "is not a port".to_owned())),
    };
    match url {
        Ok(url) => add("redis.url", &url, "REDIS_URL"),
        Err((name, path, reason)) => problems.add(Place::Variable(name.to_owned()), path, reason),
    }
}

/// Builds the URL as the application does when it has only the parts.
fn url_of_parts<'a>(get: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (user, host, name) = (get("DATABASE_USER")?, get("DATABASE_HOST")?, get("DATABASE_NAME")?);
    let scheme = get("DATABASE_TYPE").unwrap_or("postgresql");
    let password = get("DATABASE_PASSWORD").map_or_else(String::new, |password| format!(":{}", encoded(password)));
    let port = get("DATABASE_PORT").map_or_else(String::new, |port| format!(":{port}"));
    Some(format!(
        "{scheme}://{}{password}@{host}{port}/{}",
        encoded(user),
        encoded(name)
    ))
}
