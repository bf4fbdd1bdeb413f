//! Envoy itself, in front of a real upstream, asks and does what it is told: by its own messages, with its own idea of a request.

use anyhow::Result;
use neverstale_testkit::{Answer, Client, Envoy};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{actors::actors, grpc::Mesh};
use crate::question::session_token;

const CHAT: &str = "/api/chat/completions";
const BODY_BYTES_MAX: u64 = 4_096;

/// What docs/DOOR.md tells an operator to set.
fn as_documented() -> Value {
    json!({"with_request_body": {"max_request_bytes": BODY_BYTES_MAX, "pack_as_bytes": true}, "encode_raw_headers": true})
}

struct Behind {
    mesh: Mesh,
    envoy: Envoy,
}

impl Behind {
    async fn open(filter: &Value) -> Result<Self> {
        let mesh = Mesh::open(&[("INGRESS__JUDGED_BYTES_MAX", "4096")]).await?;
        mesh.doors.upstream.will_answer("{}", false);
        let envoy = Envoy::start(mesh.doors.upstream.port, mesh.port, filter).await?;
        Ok(Self { mesh, envoy })
    }

    async fn send(&self, who: &str, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        let actors = actors(neverstale_testkit::Application::OpenWebUi012);
        let actor = actors.iter().find(|actor| actor.name == who).unwrap();
        let mut headers: Vec<(&str, &str)> = more.to_vec();
        headers.extend(actor.header.iter().map(|value| ("Authorization", value.as_str())));
        let mut client = Client::port(self.envoy.port());
        client.send(method, path, &headers, body.as_bytes()).await.unwrap()
    }
}

/// As documented, and with every field by which Envoy could say the same in another way.
#[tokio::test]
async fn envoy_passes_on_what_is_allowed_and_answers_what_is_not() {
    let joined_text = json!({"with_request_body": {"max_request_bytes": BODY_BYTES_MAX}});
    for filter in [as_documented(), joined_text] {
        let behind = Behind::open(&filter).await.unwrap();
        let upstream = &behind.mesh.doors.upstream;
        let member = "member of A's group";
        let (mine, other) = (r#"{"model": "ma"}"#, r#"{"model": "mb"}"#);
        assert_eq!(
            behind.send(member, "POST", CHAT, &[], mine).await.status,
            200,
            "{filter}"
        );
        let reached = upstream.take_reached();
        assert_eq!((reached.len(), reached[0].body.as_str()), (1, mine));
        let refused = behind.send(member, "POST", CHAT, &[], other).await;
        assert_eq!(refused.status, 403);
        assert!(refused.json().unwrap()["detail"].is_string() && refused.header("cache-control") == Some("no-store"));
        let answered = behind
            .send("outsider", "POST", "/api/v1/tasks/title/completions", &[], other)
            .await;
        assert_eq!(
            (answered.status, answered.text().as_str()),
            (200, r#"{"detail":"Title generation is disabled"}"#)
        );
        assert_eq!(
            behind.send("anonymous", "GET", "/api/v1/users/", &[], "").await.status,
            401
        );
        for path in ["/api//v1/users/", "/static/..%2fapi", "/api/v1/users/%2e%2e/x"] {
            assert_eq!(
                behind.send("super admin", "GET", path, &[], "").await.status,
                400,
                "{path}"
            );
        }
        assert_eq!(upstream.take_reached(), [], "{filter}");
        assert_eq!(
            behind.send("anonymous", "GET", "/static/app.js", &[], "").await.status,
            200
        );
        // A right that ends by plain SQL has ended for the next request.
        behind
            .mesh
            .doors
            .house
            .write("DELETE FROM access_grant WHERE id = 'model-a'")
            .await
            .unwrap();
        assert_eq!(behind.send(member, "POST", CHAT, &[], mine).await.status, 403);
    }
}

#[tokio::test]
async fn envoy_takes_off_what_the_door_would() {
    let behind = Behind::open(&as_documented()).await.unwrap();
    let old = session_token("u1", "old", None);
    let (first, second) = (format!("token={old}; theme=dark"), format!("a=1; token={old}"));
    let brought = [
        ("X-OpenWebUI-User-Email", "admin@example.com"),
        ("Cookie", first.as_str()),
        ("Cookie", second.as_str()),
        ("X-API-Key", "sk-nobody"),
        ("Accept-Language", "de"),
    ];
    assert_eq!(
        behind.send("admin A", "GET", "/api/config", &brought, "").await.status,
        200
    );
    let reached = behind.mesh.doors.upstream.take_reached();
    let headers = &reached[0].headers;
    let cookies: Vec<_> = headers
        .get_all("cookie")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(cookies.join("; "), "theme=dark; a=1", "{headers:?}");
    assert!(
        !headers.contains_key("x-openwebui-user-email") && !headers.contains_key("x-api-key"),
        "{headers:?}"
    );
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer ") && headers["accept-language"] == "de");
    let twice = [("Authorization", "Bearer a")];
    assert_eq!(
        behind.send("admin A", "GET", "/api/config", &twice, "").await.status,
        400
    );
}

/// Bodies that Envoy does not send, or not whole, are refused with a word about its setting; larger ones by Envoy itself.
#[tokio::test]
async fn a_body_that_envoy_keeps_to_itself_is_not_judged() {
    let (body, large) = (
        r#"{"model": "ma"}"#,
        format!(r#"{{"model": "ma", "x": "{}"}}"#, "x".repeat(5_000)),
    );
    let partial =
        json!({"with_request_body": {"max_request_bytes": 8, "allow_partial_message": true, "pack_as_bytes": true}});
    for filter in [json!({}), partial] {
        let behind = Behind::open(&filter).await.unwrap();
        let refused = behind.send("member of A's group", "POST", CHAT, &[], body).await;
        assert_eq!(refused.status, 503, "{filter}: {}", refused.text());
        assert!(refused.text().contains("with_request_body"), "{}", refused.text());
        assert_eq!(behind.mesh.doors.upstream.take_reached(), []);
    }
    let behind = Behind::open(&as_documented()).await.unwrap();
    assert_eq!(
        behind
            .send("member of A's group", "POST", CHAT, &[], &large)
            .await
            .status,
        413
    );
    assert_eq!(behind.mesh.doors.upstream.take_reached(), []);
}

/// The sidecar is away: Envoy lets nobody in. And a WebSocket is judged like any other request.
#[tokio::test]
async fn envoy_lets_nobody_in_whom_it_can_not_ask_about() {
    let behind = Behind::open(&as_documented()).await.unwrap();
    let status = async |path: &str, more: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", behind.envoy.port())).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: chat.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut read = vec![0; 12];
        stream.read_exact(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    };
    let socket = "/ws/socket.io/?EIO=4&transport=websocket";
    // Nobody's credential matters there; it is the application that asks for one.
    assert!(status(socket, "").await.starts_with("HTTP/1.1 "));
    assert_eq!(behind.mesh.doors.upstream.take_reached().len(), 1);
    assert_eq!(status("/api//ws", "").await, "HTTP/1.1 400");
    assert_eq!(behind.mesh.doors.upstream.take_reached(), []);
    behind.mesh.sidecar().kill_nine().await.unwrap();
    for path in ["/static/app.js", "/api/v1/users/"] {
        let answer = behind.send("super admin", "GET", path, &[], "").await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    assert_eq!(behind.mesh.doors.upstream.take_reached(), []);
}
