//! What Envoy is answered: what to change of a request that may pass, or what to answer in its place.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use neverstale_guard::{
    identity_headers::is_spoken_for,
    refused::Refused,
    trace::{self, X_REQUEST_ID},
};
use neverstale_telemetry::{CheckOutcome, DoorRefusal, Metrics};
use neverstale_wire::ProblemKind;
use tonic::Code;

use crate::proto::{
    self, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpStatus, OkHttpResponse, Status,
    check_response::HttpResponse, header_value_option::Action,
};

/// A request that does not pass.
pub(crate) struct Denied {
    /// What it is counted as, where the answer does not tell.
    pub(crate) outcome: Option<CheckOutcome>,
    pub(crate) refused: Refused,
}

/// What is changed of a request.
pub(crate) struct Changes {
    pub(crate) response: OkHttpResponse,
    /// How many identity headers are taken away.
    pub(crate) identity_headers: usize,
}

impl Denied {
    /// Refuses what the door would let pass with a change.
    pub(crate) fn unchanged(what: &str) -> Self {
        let detail =
            format!("{what}, which Envoy can't: let it come through the door, or see ext_authz.unchanged_allowed");
        Self {
            outcome: Some(CheckOutcome::Unchanged),
            refused: Refused::problem(DoorRefusal::NotAllowed, ProblemKind::Forbidden, detail),
        }
    }
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Self {
        Self { outcome: None, refused }
    }
}

/// Lets a request pass.
pub(crate) fn allowed(response: OkHttpResponse, metrics: &Metrics) -> CheckResponse {
    metrics.ext_authz_checks_total[CheckOutcome::Allowed].inc();
    CheckResponse {
        status: Some(status(Code::Ok)),
        http_response: Some(HttpResponse::OkResponse(response)),
    }
}

/// Has Envoy answer what the door would, and counts it.
pub(crate) fn denied(denied: Denied, metrics: &Metrics) -> CheckResponse {
    let is_answer = denied.refused.why().is_none();
    let response = denied.refused.into_response(metrics);
    let (outcome, code) = match response.status() {
        _ if is_answer => (CheckOutcome::Answered, Code::PermissionDenied),
        StatusCode::SERVICE_UNAVAILABLE => (CheckOutcome::Undecided, Code::Unavailable),
        StatusCode::UNAUTHORIZED => (CheckOutcome::Refused, Code::Unauthenticated),
        _ => (CheckOutcome::Refused, Code::PermissionDenied),
    };
    metrics.ext_authz_checks_total[denied.outcome.unwrap_or(outcome)].inc();
    let (head, body) = response.into_parts();
    let headers = head.headers.iter().filter(|(name, _)| *name != header::CONTENT_LENGTH);
    CheckResponse {
        status: Some(status(code)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus {
                code: head.status.as_u16().into(),
            }),
            headers: headers.map(|(name, value)| set(name, value)).collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })),
    }
}

/// Finds what must be changed of the headers that came, so that the application gets of them what it would get through the door:
/// no header that names a user, no credential but the one that was judged (`show` leaves it), and a name for the request.
pub(crate) fn changes(came: &HeaderMap, identity_headers: &[HeaderName], show: impl FnOnce(&mut HeaderMap)) -> Changes {
    let mut left = came.clone();
    let named: Vec<HeaderName> = came
        .keys()
        .filter(|name| !identity_headers.is_empty() && is_spoken_for(name, identity_headers))
        .cloned()
        .collect();
    for name in &named {
        left.remove(name);
    }
    show(&mut left);
    if !left.get(X_REQUEST_ID).is_some_and(trace::is_request_id)
        && let Ok(id) = HeaderValue::from_str(&trace::new_request_id())
    {
        left.insert(X_REQUEST_ID, id);
    }
    let mut response = OkHttpResponse::default();
    for name in came.keys() {
        if !left.contains_key(name) {
            response.headers_to_remove.push(name.to_string());
        }
    }
    // Those too that the filter's `allowed_headers` hides from us.
    let unseen = identity_headers.iter().filter(|name| !came.contains_key(*name));
    response.headers_to_remove.extend(unseen.map(ToString::to_string));
    for name in left.keys() {
        if left.get_all(name).iter().eq(came.get_all(name)) {
            continue;
        }
        match joined(&left, name) {
            Some(value) => response.headers.push(set(name, &value)),
            None => response.headers_to_remove.push(name.to_string()),
        }
    }
    Changes {
        response,
        identity_headers: named.len(),
    }
}

/// The values that are left of a header, in one; none if they are no text, which Envoy would not take.
fn joined(left: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let values = left.get_all(name).iter().map(HeaderValue::to_str);
    let values = values.collect::<Result<Vec<_>, _>>().ok()?;
    let between = if *name == header::COOKIE { "; " } else { "," };
    HeaderValue::from_str(&values.join(between)).ok()
}

fn set(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(proto::HeaderValue {
            key: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Vec::new(),
        }),
        append_action: Action::OverwriteIfExistsOrAdd.into(),
    }
}

fn status(code: Code) -> Status {
    Status {
        code: code.into(),
        message: String::new(),
    }
}
