//! The ways to a real Redis: a password, a socket, TLS, Sentinels, a Cluster.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test measures and says what it saw"
)]

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use neverstale_coherence::Position;
use neverstale_lifecycle::{Clock, Readiness, Tasks};
use neverstale_redis::{PutOutcome, Received, Redis, RedisError, RedisSettings, Subscription, probe};
use neverstale_settings::Secret;
use neverstale_testkit as testkit;

const PATIENCE: Duration = Duration::from_secs(10);

fn settings(url: impl Into<String>) -> RedisSettings {
    RedisSettings {
        url: Some(Secret::new(url)),
        budget_ms: 200,
        ..RedisSettings::default()
    }
}

/// Writes, reads, publishes and hears through a Redis with these settings.
async fn works(settings: &RedisSettings) {
    let tasks = Tasks::new(Readiness::new("start", "not yet"), || {});
    let redis = Redis::connect(settings, &tasks, &Clock::system()).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while redis
        .l2_put("k", Position(1), Bytes::from_static(b"value"), PATIENCE)
        .await
        != PutOutcome::Stored
    {
        assert!(Instant::now() < deadline, "{:?}", probe(settings).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(redis.l2_get("k").await, Ok(Some(Bytes::from_static(b"value"))));
    let mut subscription = redis.subscribe("channel").unwrap();
    let next =
        async |subscription: &mut Subscription| tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap();
    assert_eq!(next(&mut subscription).await, Received::Gap);
    redis.publish("channel", Bytes::from_static(b"word")).await.unwrap();
    assert_eq!(
        next(&mut subscription).await,
        Received::Message(Bytes::from_static(b"word"))
    );
}

#[tokio::test]
async fn a_password_and_a_database_are_used() {
    let server = testkit::Redis::start().await.unwrap();
    server
        .command(&["ACL", "SETUSER", "app", "on", ">p@ss", "~*", "&*", "+@all"])
        .await
        .unwrap();
    server
        .command(&["ACL", "SETUSER", "default", "resetpass", ">d:f", "~*", "&*", "+@all"])
        .await
        .unwrap();
    works(&settings(format!("redis://app:p%40ss@127.0.0.1:{}/3", server.port()))).await;
    works(&settings(format!("redis://:d%3Af@127.0.0.1:{}", server.port()))).await;
    let wrong = probe(&settings(format!("redis://app:hunter2@127.0.0.1:{}", server.port())))
        .await
        .unwrap_err();
    assert!(!format!("{wrong:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_socket_is_used() {
    let directory = testkit::Scratch::new().unwrap();
    let socket = directory.path().join("redis.sock");
    let server = testkit::Redis::start_with(&["--unixsocket", socket.to_str().unwrap()])
        .await
        .unwrap();
    works(&settings(format!("redis+unix://{}?db=2", socket.display()))).await;
    drop(server);
}

#[tokio::test]
async fn tls_is_used_and_checked() {
    let directory = testkit::Scratch::new().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    certificate(directory.path());
    let port = testkit::free_port().unwrap();
    let (port_text, key, certificate) = (port.to_string(), path("key.pem"), path("certificate.pem"));
    let options = [
        "--tls-port",
        &port_text,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ];
    let Ok(server) = testkit::Redis::start_with(&[&options[..], &["--tls-ca-cert-file", &certificate]].concat()).await
    else {
        eprintln!("this redis-server is built without TLS");
        return;
    };
    let url = format!("rediss://localhost:{port}");
    works(&RedisSettings {
        tls_ca_file: Some(certificate.clone().into()),
        ..settings(&url)
    })
    .await;
    works(&settings(format!("{url}?ssl_ca_certs={certificate}"))).await;
    let nobody_vouches = settings(&url);
    assert!(matches!(
        probe(&nobody_vouches).await,
        Err(RedisError::Ask { .. } | RedisError::NoAuthorities)
    ));
    let another_name = settings(format!("rediss://127.0.0.2:{port}?ssl_ca_certs={certificate}"));
    assert!(probe(&another_name).await.is_err());
    let missing = RedisSettings {
        tls_ca_file: Some("/nowhere.pem".into()),
        ..settings(&url)
    };
    assert!(matches!(probe(&missing).await, Err(RedisError::ReadAuthorities { .. })));
    drop(server);
}

#[tokio::test]
async fn sentinels_are_asked_for_the_primary() {
    let server = testkit::Redis::start().await.unwrap();
    let directory = testkit::Scratch::new().unwrap();
    let port = testkit::free_port().unwrap();
    let file = directory.path().join("sentinel.conf");
    std::fs::write(
        &file,
        format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\n",
            server.port()
        ),
    )
    .unwrap();
    let _sentinel = Running::start(&[file.to_str().unwrap(), "--sentinel"], directory.path());
    works(&settings(format!(
        "redis-sentinel://127.0.0.1:1,127.0.0.1:{port}/2?sentinelServiceName=main"
    )))
    .await;
    let report = probe(&settings(format!("redis-sentinel://127.0.0.1:{port}/main")))
        .await
        .unwrap();
    assert_eq!((report.kind, report.role.as_str()), ("sentinel", "master"));
}

#[tokio::test]
async fn a_cluster_is_used() {
    let server = testkit::Redis::start_with(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"])
        .await
        .unwrap();
    server
        .command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !server
        .command(&["CLUSTER", "INFO"])
        .await
        .unwrap()
        .contains("cluster_state:ok")
    {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    works(&settings(format!("redis-cluster://127.0.0.1:{}/1", server.port()))).await;
}

/// Makes a throw-away certificate for `localhost` that vouches for itself.
fn certificate(directory: &Path) {
    let arguments = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ];
    let made = Command::new("openssl")
        .args(arguments)
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(directory)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str], directory: &Path) -> Self {
        let server = testkit::redis_server().unwrap().path;
        let mut command = Command::new(server);
        command
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
