//! Streams of random numbers: their first values are part of what a seed means.

use flows_core::stream;
use rand::Rng;

#[test]
fn streams_keep_their_first_values() {
    let first = |seed, name| stream(seed, name).next_u64();
    assert_eq!(first(0, "init"), 5_706_898_626_054_665_148);
    assert_ne!(first(0, "init"), first(0, "data"));
    assert_ne!(first(0, "init"), first(1, "init"));
}
