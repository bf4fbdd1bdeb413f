//! WebSockets: an upgrade goes through, then bytes do.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Door, read_until};
use crate::house::until;

pub(super) const UPGRADE: &str = "GET /ws/socket.io/?transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: WebSocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn a_websocket_goes_through_and_ends_on_both_sides() {
    let door = Door::open().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await.unwrap().to_ascii_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("upgrade: websocket") && head.contains("connection: upgrade"),
        "{head}"
    );
    for text in ["hello", "GET / HTTP/1.1\r\n\r\n", "\0\u{1}\u{2}"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read_until(&mut stream, text).await.unwrap(), text);
    }
    assert_eq!(door.counted("neverstale_ingress_tunnels").await.unwrap(), 1);
    drop(stream);
    until("the tunnel is gone", Duration::from_secs(10), async || {
        Ok(door.counted("neverstale_ingress_tunnels").await? == 0)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_upgrade_to_anything_else_is_an_ordinary_request() {
    let door = Door::open().await.unwrap();
    let h2c = "GET /page HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let mut stream = door.connect().await.unwrap();
    stream.write_all(h2c.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "]}").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && !answer.contains("upgrade") && !answer.contains("http2-settings"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_tunnel_does_not_hold_up_the_end() {
    let door = Door::open().await.unwrap();
    let mut stream = door.connect().await.unwrap();
    stream.write_all(UPGRADE.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await.unwrap();
    door.sidecar().ask_to_end().unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert_eq!(door.sidecar().exited(Duration::from_secs(10)).await.unwrap(), 0);
}
