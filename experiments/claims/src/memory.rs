//! Bytes in use, by an allocator that counts on request.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether allocations are counted now; reading it is all that an allocation pays otherwise.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// Bytes asked for less bytes given back since the count began.
static IN_USE: AtomicIsize = AtomicIsize::new(0);
/// The most that [`IN_USE`] has been.
static PEAK: AtomicIsize = AtomicIsize::new(0);
/// Held by the one count at a time.
static TURN: Mutex<()> = Mutex::new(());

/// An allocator that hands everything to another one, and counts the bytes while [`peak_bytes`] runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting<A>(
    /// The allocator that does the work.
    pub A,
);

/// Stops the count, also where the work panics.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::SeqCst);
    }
}

/// What `work` returns, and the most bytes that the process had in use meanwhile above those before.
///
/// Bytes are those asked for, without what an allocator adds. None where the program's global allocator
/// is not [`Counting`]. Two counts at once wait for one another; one within another never ends.
pub fn peak_bytes<R>(work: impl FnOnce() -> R) -> (R, Option<u64>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    IN_USE.store(0, Ordering::SeqCst);
    PEAK.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    let running = Running;
    // So that a count of nothing is told from an allocator that does not count.
    drop(std::hint::black_box(Box::new(0_u8)));
    let result = work();
    drop(running);
    let peak = u64::try_from(PEAK.load(Ordering::SeqCst)).unwrap_or(0);
    (result, (peak > 0).then_some(peak))
}

fn changed(bytes: isize) {
    if COUNTING.load(Ordering::Relaxed) {
        let in_use = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(in_use, Ordering::Relaxed);
    }
}

#[expect(unsafe_code, reason = "an allocator is an unsafe trait")]
// SAFETY: every call is handed on as it came, and what the other allocator returns is returned; counting
// neither allocates nor panics.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: the caller keeps the contract of the trait, which is the other allocator's too.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        changed(layout.size() as isize);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        changed(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        changed(size as isize - layout.size() as isize);
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
