//! A count of the multiplications of matrix products, for measurements of cost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether products are counted now; reading it is all that a product pays otherwise.
static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Held by the one count at a time.
static TURN: Mutex<()> = Mutex::new(());

/// Stops the count, also where the work panics.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::SeqCst);
    }
}

/// What `work` returns, and the multiplications of all matrix products of the process meanwhile:
/// rows times columns times inner dimension of each [`product`](super::product).
///
/// Networks do nearly all of their arithmetic in products; activations, transformers and sums are not
/// counted. A block of a batch is always full, so that up to 127 rows that a batch lacks are counted
/// as well. Two counts at once wait for one another; one within another never ends.
pub fn multiplications<R>(work: impl FnOnce() -> R) -> (R, u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    COUNT.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    let running = Running;
    let result = work();
    drop(running);
    (result, COUNT.load(Ordering::SeqCst))
}

/// Notes a product.
pub(super) fn note(rows: usize, columns: usize, inner: usize) {
    if COUNTING.load(Ordering::Relaxed) {
        COUNT.fetch_add((rows * columns * inner) as u64, Ordering::Relaxed);
    }
}
