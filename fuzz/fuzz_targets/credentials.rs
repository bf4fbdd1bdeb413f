//! Whatever a request shows, nothing of it is left once it is taken away, and the other headers stay.

#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use neverstale_ingress::credentials::{holds_others, shown, strip};

const KEY: HeaderName = HeaderName::from_static("x-api-key");

fuzz_target!(|lines: Vec<(u8, Vec<u8>)>| {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = match name % 4 {
            0 => header::AUTHORIZATION,
            1 => header::COOKIE,
            2 => KEY,
            _ => header::ACCEPT,
        };
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    let others = headers.get_all(header::ACCEPT).iter().count();
    if let Ok(Some(judged)) = shown(&headers, &KEY) {
        let judged = judged.into_owned();
        let mut left = headers.clone();
        strip(&mut left, &KEY, Some(&judged));
        assert!(!holds_others(&left, &KEY, &judged));
        let left = shown(&left, &KEY).expect("one was left");
        assert!(left.is_none_or(|left| left == judged));
    }
    strip(&mut headers, &KEY, None);
    assert_eq!(shown(&headers, &KEY), Ok(None));
    assert_eq!(headers.get_all(header::ACCEPT).iter().count(), others);
});
