//! Our messages are Envoy's, number by number: what its project compiles reads ours and writes what we read.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use neverstale_ext_authz::proto::{
    CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
    Status, check_response::HttpResponse, header_value_option::Action,
};
use neverstale_testkit::python_packages;
use prost::Message;
use serde_json::{Value, json};

/// The release of what Envoy's project compiles, on PyPI.
const MESSAGES: &str = "xds-protos==1.85.*";

fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
}

fn bytes(word: &str) -> Vec<u8> {
    let digits = (0..word.len()).step_by(2);
    digits
        .map(|place| u8::from_str_radix(&word[place..place + 2], 16).unwrap())
        .collect()
}

#[tokio::test]
async fn our_messages_are_envoys() {
    let packages = tokio::task::spawn_blocking(|| python_packages(&[MESSAGES]));
    let packages = packages.await.unwrap().unwrap();
    let header = |key: &str| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.into(),
            value: "v".into(),
            raw_value: Vec::new(),
        }),
        append_action: Action::OverwriteIfExistsOrAdd.into(),
    };
    let answer = |code, http_response| CheckResponse {
        status: Some(Status {
            code,
            message: String::new(),
        }),
        http_response: Some(http_response),
    };
    let denied = HttpResponse::DeniedResponse(DeniedHttpResponse {
        status: Some(HttpStatus { code: 503 }),
        headers: vec![header("retry-after")],
        body: "no".into(),
    });
    let allowed = HttpResponse::OkResponse(OkHttpResponse {
        headers: vec![header("cookie")],
        headers_to_remove: vec!["x-api-key".into()],
    });
    let words = [answer(14, denied), answer(0, allowed)].map(|answer| hexadecimal(&answer.encode_to_vec()));
    let mut python = Command::new("python3")
        .args(["-c", include_str!("messages.py")])
        .env("PYTHONPATH", &packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(words.join(" ").as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let (question, read) = said.split_once(' ').unwrap();
    let read: Value = serde_json::from_str(read).unwrap();
    let overwrites = 2;
    assert_eq!(
        read,
        json!([
            [14, 503, "no", [["retry-after", "v", overwrites]], []],
            [0, 0, "", [["cookie", "v", overwrites]], ["x-api-key"]],
        ])
    );
    let asked = CheckRequest::decode(bytes(question).as_slice()).unwrap();
    let http = asked.attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!(
        (&*http.method, &*http.path, &*http.host, &*http.protocol),
        ("POST", "/a?b=c", "chat.example", "HTTP/2")
    );
    assert_eq!(
        (
            http.body.as_str(),
            http.raw_body.as_slice(),
            http.headers["accept"].as_str()
        ),
        ("text", &b"\xff"[..], "x")
    );
    let line = &http.header_map.unwrap().headers[0];
    assert_eq!(
        (&*line.key, &*line.value, line.raw_value.as_slice()),
        ("cookie", "v", &b"\xfe"[..])
    );
}
