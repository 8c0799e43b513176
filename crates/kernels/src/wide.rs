//! The widest vectors that the processor has, found out when the program runs.
//!
//! A loop is written once, in a way that the compiler turns into vectors, and compiled for several instruction
//! sets: on x86-64 for what every such processor has, for AVX2 and for AVX-512 (F, BW, CD, DQ, VL), on other processors
//! for theirs. The list is that of `pulp`'s features in the workspace's `Cargo.toml`. All of them compute the same bits:
//! IEEE operations one by one, none of them fused. In WebAssembly there is one instruction set, chosen when the program
//! is built.

/// A loop over a stretch of elements. [`Self::run`] has to be `#[inline(always)]`, and so has what it calls for each
/// element: only what is inlined is compiled anew for another instruction set.
pub(crate) trait Stretch {
    /// What the loop answers.
    type Output;

    /// The loop.
    fn run(self) -> Self::Output;
}

/// Holds the loops to fewer instructions than the processor has, so that one machine tests all that it has.
#[cfg(all(feature = "narrower", target_arch = "x86_64"))]
pub mod narrower {
    use std::sync::atomic::{AtomicBool, Ordering};

    static HELD: AtomicBool = AtomicBool::new(false);

    /// From now on no loop uses AVX-512, or each does that can.
    pub fn without_avx512(held: bool) {
        HELD.store(held, Ordering::Relaxed);
    }

    /// The way to AVX2, if loops are held to it and the processor has it.
    pub(super) fn avx2() -> Option<pulp::x86::V3> {
        HELD.load(Ordering::Relaxed).then(pulp::x86::V3::try_new).flatten()
    }
}

#[cfg(not(any(target_arch = "wasm32", quantscope_narrow)))]
struct Dispatched<S>(S);

#[cfg(not(any(target_arch = "wasm32", quantscope_narrow)))]
impl<S: Stretch> pulp::WithSimd for Dispatched<S> {
    type Output = S::Output;
    #[inline(always)]
    fn with_simd<V: pulp::Simd>(self, _: V) -> S::Output {
        self.0.run()
    }
}

/// Runs a loop with the widest vectors there are.
#[cfg(not(any(target_arch = "wasm32", quantscope_narrow)))]
pub(crate) fn run<S: Stretch>(stretch: S) -> S::Output {
    #[cfg(all(feature = "narrower", target_arch = "x86_64"))]
    if let Some(avx2) = narrower::avx2() {
        return pulp::Simd::vectorize(avx2, Dispatched(stretch));
    }
    pulp::Arch::new().dispatch(Dispatched(stretch))
}

/// The way to AVX2's own instructions, for loops that no compiler finds them for; a loop that has it is run like the
/// others.
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
pub(crate) fn avx2() -> Option<pulp::x86::V3> {
    pulp::x86::V3::try_new()
}

/// The way to AVX-512's own instructions.
#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
pub(crate) fn avx512() -> Option<pulp::x86::V4> {
    #[cfg(feature = "narrower")]
    if narrower::avx2().is_some() {
        return None;
    }
    pulp::x86::V4::try_new()
}

/// Runs a loop with the vectors that the program was built for.
#[cfg(any(target_arch = "wasm32", quantscope_narrow))]
pub(crate) fn run<S: Stretch>(stretch: S) -> S::Output {
    stretch.run()
}
