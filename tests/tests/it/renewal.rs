//! Files that are renewed while the process runs: the certificate of a listener and the keys of L2.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use neverstale_testkit::{Application, Scratch, Sidecar};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::house::{House, Plan, until};

/// Puts another file in the place of one, as Kubernetes does it.
fn replace(file: &Path, contents: &str) {
    let next = file.with_extension("next");
    std::fs::write(&next, contents).unwrap();
    std::fs::rename(&next, file).unwrap();
}

/// Waits until the log tells of as many changes, or complaints.
async fn told(sidecar: &Sidecar, what: &str, times: usize) {
    until(what, Duration::from_secs(10), async || {
        Ok(sidecar.log().matches(what).count() >= times)
    })
    .await
    .unwrap();
}

const CHANGED: &str = "a file has changed and counts from now on";
const OF_NO_USE: &str = "a file has changed and is of no use";

#[tokio::test]
async fn a_renewed_certificate_counts_without_a_restart_and_a_broken_one_changes_nothing() {
    let scratch = Scratch::new().unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| scratch.path().join(name));
    let [old, new] = [1, 2].map(|_| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    replace(&key_file, &old.signing_key.serialize_pem());
    replace(&cert_file, &old.cert.pem());
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(1)
        .with("NEVERSTALE_API__TLS_CERT_FILE", cert_file.display())
        .with("NEVERSTALE_API__TLS_KEY_FILE", key_file.display())
        .open()
        .await
        .unwrap();
    let sidecar = &house.sidecars[0];
    let is_trusted = async |made: &rcgen::CertifiedKey<rcgen::KeyPair>| -> Result<bool> {
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", sidecar.api_port())).await?;
        let name = ServerName::try_from("localhost")?;
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok())
    };
    assert!(is_trusted(&old).await.unwrap() && !is_trusted(&new).await.unwrap());

    replace(&key_file, &new.signing_key.serialize_pem());
    replace(&cert_file, &new.cert.pem());
    until("the new certificate is shown", Duration::from_secs(10), async || {
        is_trusted(&new).await
    })
    .await
    .unwrap();
    assert!(!is_trusted(&old).await.unwrap());

    replace(&cert_file, "no certificate");
    told(sidecar, OF_NO_USE, 1).await;
    assert!(is_trusted(&new).await.unwrap());
}

/// How one sidecar finds what another has just filled.
async fn shared_by(house: &House, user: &str) -> Result<String> {
    let path = format!("/v1/users/{user}/groups");
    house.sidecars[0].get(&path).await?;
    found_by_the_other(house, &path).await
}

async fn found_by_the_other(house: &House, path: &str) -> Result<String> {
    let answer = house.sidecars[1].get(path).await?;
    Ok(answer.header("cache-status").context("a cache status")?.to_owned())
}

const L2_HIT: &str = "neverstale; hit; detail=l2";

#[tokio::test]
async fn keys_of_l2_are_rotated_while_everybody_reads() {
    let scratch = Scratch::new().unwrap();
    let file = scratch.path().join("keys");
    let [old, new] = ["11".repeat(32), "22".repeat(32)];
    replace(&file, &old);
    let house = Plan::of(Application::OpenWebUi012)
        .sidecars(2)
        .with_redis()
        .with("NEVERSTALE_REDIS__KEY_FILE", file.display())
        .open()
        .await
        .unwrap();
    let redis = house.redis.as_ref().unwrap();
    let fill = async |users: std::ops::Range<u32>| {
        let before: u32 = redis.command(&["DBSIZE"]).await?.parse()?;
        for user in users.clone() {
            house.sidecars[0].get(&format!("/v1/users/u{user}/role")).await?;
        }
        // Values go to Redis behind the answers.
        until("they are in Redis", Duration::from_secs(5), async || {
            Ok(redis.command(&["DBSIZE"]).await?.parse::<u32>()? >= before + users.len() as u32)
        })
        .await
    };
    let found = async |user: u32| {
        found_by_the_other(&house, &format!("/v1/users/u{user}/role"))
            .await
            .unwrap()
    };
    let rotated = async |keys: &str, times: usize| {
        replace(&file, keys);
        for sidecar in &house.sidecars {
            told(sidecar, CHANGED, times).await;
        }
    };
    fill(2..6).await.unwrap();
    assert_eq!(found(2).await, L2_HIT);
    // The new one opens; then it seals, and what the old one sealed still opens; then the old one is gone.
    rotated(&format!("{old}\n{new}"), 1).await;
    assert_eq!(found(3).await, L2_HIT);
    rotated(&format!("{new}\n{old}"), 2).await;
    fill(6..9).await.unwrap();
    assert_eq!((found(4).await.as_str(), found(6).await.as_str()), (L2_HIT, L2_HIT));
    rotated(&new, 3).await;
    assert_eq!(found(7).await, L2_HIT, "sealed with the new key");
    assert_eq!(
        found(5).await,
        "neverstale; fwd=miss",
        "sealed with a key that nobody has"
    );
    // A file that is of no use keeps the keys, and they go on to seal and to open.
    replace(&file, "no key at all");
    for sidecar in &house.sidecars {
        told(sidecar, OF_NO_USE, 1).await;
    }
    assert_eq!(found(8).await, L2_HIT);
    until("what one fills the other finds", Duration::from_secs(5), async || {
        house
            .write("UPDATE \"user\" SET name = name || '.' WHERE id = 'u20'")
            .await?;
        shared_by(&house, "u20").await.map(|status| status == L2_HIT)
    })
    .await
    .unwrap();
}
