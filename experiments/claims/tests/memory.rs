//! The count of bytes, which is the process's: a test of its own.

use flows_claims::memory::{Counting, peak_bytes};

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

/// One test, because the allocator counts for the whole process.
#[test]
fn the_peak_is_what_is_in_use_at_once() {
    const SIZE: usize = 1 << 20;
    let block = || vec![1_u8; SIZE];
    let near = |bytes: Option<u64>, blocks: u64| {
        // Other threads of the test harness may ask for a little.
        let beyond = bytes.map(|bytes| bytes.abs_diff(blocks << 20));
        assert!(beyond.is_some_and(|bytes| bytes < 1 << 16), "{bytes:?}, {blocks} blocks");
    };
    near(peak_bytes(|| (block(), block())).1, 2);
    near(peak_bytes(|| (drop(block()), drop(block()))).1, 1);
    let before = block();
    near(peak_bytes(|| (block(), block())).1, 2);
    near(peak_bytes(move || (drop(before), block())).1, 0);
    near(peak_bytes(|| vec![0_u8; 3 * SIZE]).1, 3);
    near(
        peak_bytes(|| {
            let mut grown = block();
            grown.reserve_exact(SIZE);
            grown
        })
        .1,
        2,
    );
    let elsewhere = || std::thread::spawn(move || block().len()).join().unwrap_or(0);
    near(peak_bytes(elsewhere).1, 1);
    let (result, bytes) = peak_bytes(|| 3);
    assert_eq!(result, 3);
    near(bytes, 0);
}
