//! From the text of a tag, as Postgres and the broadcast tell it, to the number that worlds reckon with.

use neverstale_coherence::Tag;
use ring::digest::{SHA256, digest};

/// Gives the number of a tag: the first eight bytes of its text's SHA-256.
pub fn tag_of(text: &str) -> Tag {
    let digest = digest(&SHA256, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_ref()[..8]);
    Tag::from_digest(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tags_number_is_the_head_of_its_sha_256() {
        // SHA-256 of "abc" begins ba7816bf 8f01cfea.
        assert_eq!(tag_of("abc"), Tag(0xba78_16bf_8f01_cfea));
        assert_eq!(tag_of("abc").mark().0, 0xba78_16bf_u32 as i32);
    }
}
