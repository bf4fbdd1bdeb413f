//! Traces of callers: how a request says that it is traced (W3C Trace Context), and how spans are made below it.
//!
//! The sidecar continues traces and begins none. A span of a traced request has the target [`TRACE`]; whoever exports them looks at
//! nothing else, and log lines within it carry its `trace_id`. Without a `traceparent` there is no span at all.

use tracing::Span;

/// The target of the spans of traced requests.
pub const TRACE: &str = "neverstale::trace";

/// What a request says of the trace that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent<'h> {
    /// 32 hexadecimal digits.
    pub trace_id: &'h str,
    /// The caller's span, 16 hexadecimal digits; none where the caller does not sample this trace.
    pub parent_id: Option<&'h str>,
}

impl<'h> TraceParent<'h> {
    /// Reads the header `traceparent`; none for what no caller can mean. Allocates nothing.
    ///
    /// Source: W3C Trace Context, §3.2: `version-traceid-parentid-flags`, a later version may go on after another `-`.
    pub fn parse(text: &'h str) -> Option<Self> {
        let (version, rest) = text.split_once('-')?;
        let (trace_id, rest) = rest.split_once('-')?;
        let (parent_id, flags) = rest.split_once('-')?;
        let flags = match flags.split_once('-') {
            Some(_) if version == "00" => return None,
            Some((flags, _)) => flags,
            None => flags,
        };
        let is_whole = is_hex(version, 2) && is_hex(trace_id, 32) && is_hex(parent_id, 16) && is_hex(flags, 2);
        let is_nobodys = trace_id.bytes().all(|digit| digit == b'0') || parent_id.bytes().all(|digit| digit == b'0');
        if !is_whole || is_nobodys || version == "ff" {
            return None;
        }
        let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        Some(Self {
            trace_id,
            parent_id: is_sampled.then_some(parent_id),
        })
    }
}

/// Makes a span below the one of a traced request, and none elsewhere.
pub fn within(make: impl FnOnce() -> Span) -> Span {
    let is_traced = Span::current()
        .metadata()
        .is_some_and(|metadata| metadata.target() == TRACE);
    if is_traced { make() } else { Span::none() }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_caller_names_its_trace_and_whether_it_is_sampled() {
        let sampled = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(
            (sampled.trace_id, sampled.parent_id),
            (TRACE_ID, Some("b7ad6b7169203331"))
        );
        let other = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02").unwrap();
        assert_eq!((other.trace_id, other.parent_id), (TRACE_ID, None));
        let later = TraceParent::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more").unwrap();
        assert_eq!(later.parent_id, Some("b7ad6b7169203331"));
    }

    #[test]
    fn what_no_caller_can_mean_is_no_trace() {
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
        }
    }
}
