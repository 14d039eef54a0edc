//! Time and chance that are the same in every run, and waiting without a runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use store::Clock;

/// A clock that goes on by one second each time it is asked.
pub(crate) struct Ticks(AtomicI64, AtomicU64);

impl Ticks {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(1_700_000_000), AtomicU64::new(7))
    }
}

impl Clock for Ticks {
    fn now(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        self.1.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// Polls to the end; whenever nothing else can go on, `step` does something.
pub(crate) fn drive<T>(future: impl Future<Output = T>, mut step: impl FnMut() -> bool) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut stuck = 0;
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        stuck = if step() { 0 } else { stuck + 1 };
        assert!(stuck < 100_000, "nothing goes on any more");
    }
}
