//! Running a function over the parts of a tile: on all cores natively, in order where there are no threads.

/// The results for all parts, in their order.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn map<P: Send, R: Send>(
    parts: impl Iterator<Item = P>,
    run: impl Fn(P) -> R + Sync + Send,
) -> Vec<R> {
    use rayon::prelude::*;
    // What one thread does alone is best done by the one that asks: what it has just read lies in its caches.
    if rayon::current_num_threads() == 1 {
        return parts.map(run).collect();
    }
    let parts: Vec<P> = parts.collect();
    parts.into_par_iter().map(run).collect()
}

/// Makes the calling thread one of those among which the CPU engine divides its work, in place of one that would have
/// to be woken each time while this one waits. For a program's only thread that calls engines, before it does.
#[cfg(not(target_arch = "wasm32"))]
pub fn join_threads() {
    // Where threads have begun already, all stays as it is.
    let _ = rayon::ThreadPoolBuilder::new().use_current_thread().build_global();
}

/// The results for all parts, in their order.
#[cfg(target_arch = "wasm32")]
pub(crate) fn map<P, R>(parts: impl Iterator<Item = P>, run: impl Fn(P) -> R) -> Vec<R> {
    parts.map(run).collect()
}

/// Words for the status bar.
pub(crate) fn description() -> String {
    #[cfg(not(target_arch = "wasm32"))]
    return match rayon::current_num_threads() {
        1 => "CPU, 1 thread".to_owned(),
        n => format!("CPU, {n} threads"),
    };
    #[cfg(target_arch = "wasm32")]
    return if cfg!(target_feature = "simd128") { "CPU, WebAssembly SIMD" } else { "CPU, WebAssembly" }
        .to_owned();
}
