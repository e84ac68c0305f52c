//! Chooses at run time the fastest instructions of the processor for products of bytes.

use std::sync::LazyLock;

/// A way to compute dot products of bytes. All ways give the same integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Plain Rust, which the compiler vectorises.
    Portable,
    /// `vpmaddwd` on 16-bit copies: `vpmaddubsw`, which takes bytes, saturates at large values.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `vpdpbusd` on 512 bits: four products of bytes, added to a 32-bit sum.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

static BEST: LazyLock<Path> = LazyLock::new(|| Path::all().pop().unwrap_or(Path::Portable));

impl Path {
    /// The fastest path that this processor supports.
    pub(crate) fn best() -> Self {
        *BEST
    }

    /// All paths that this processor supports, the fastest last.
    pub(crate) fn all() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Path::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if std::is_x86_feature_detected!("avx2") {
                all.push(Path::Avx2);
            }
            if std::is_x86_feature_detected!("avx512bw") && std::is_x86_feature_detected!("avx512vnni") {
                all.push(Path::Avx512Vnni);
            }
        }
        all
    }
}
