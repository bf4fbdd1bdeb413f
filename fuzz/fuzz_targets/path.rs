//! A path that is accepted can be understood in one way only, by whoever decodes, joins or resolves it once more.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neverstale_ingress::path::RoutePath;

fuzz_target!(|raw: &str| {
    let Ok(path) = RoutePath::read(raw) else { return };
    let path = path.as_str();
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
    assert!(!path.bytes().any(|byte| byte.is_ascii_control()));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    // As many slashes as were written: none came from an escape.
    let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
    assert_eq!(slashes(raw), slashes(path));
    // A second reader that decodes again sees the same slashes and no dot segments.
    if let Ok(again) = RoutePath::read(path) {
        assert_eq!(slashes(again.as_str()), slashes(path));
    }
});
