//! Reads little-endian numbers and slices of bytes, with an error if the bytes end too early.

use anyhow::{Result, anyhow};

/// The little-endian number of `N` bytes at offset `at`.
pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64> {
    let end = at.checked_add(N).ok_or_else(cut)?;
    let mut whole = [0u8; 8];
    whole[..N].copy_from_slice(bytes.get(at..end).ok_or_else(cut)?);
    Ok(u64::from_le_bytes(whole))
}

pub(super) fn slice(bytes: &[u8], at: u64, length: u64) -> Result<&[u8]> {
    let at = usize::try_from(at).map_err(|_| cut())?;
    let end = at.checked_add(usize::try_from(length).map_err(|_| cut())?).ok_or_else(cut)?;
    bytes.get(at..end).ok_or_else(cut)
}

pub(super) fn cut() -> anyhow::Error {
    anyhow!("the file is damaged or was cut short")
}
