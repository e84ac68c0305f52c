//! Reads the zip container of a PyTorch file (APPNOTE.TXT 4.3, including zip64); its entries are not compressed.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, ensure};

use super::bytes::{cut, number, slice};
use crate::files::weights::stored::Source;

/// The position of an entry's bytes in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub at: u64,
    pub length: u64,
}

/// The position of each entry, by name.
pub(super) fn entries(source: &Source) -> Result<BTreeMap<String, Span>> {
    let (count, at) = directory(source)?;
    let bytes = source.bytes(at, source.length.checked_sub(at).ok_or_else(cut)?)?;
    let mut entries = BTreeMap::new();
    let mut at = 0usize;
    for _ in 0..count {
        ensure!(bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")), cut());
        let [name, extra, comment] = [28, 30, 32].map(|field| number::<2>(&bytes, at + field));
        let (name, extra, comment) = (name?, extra?, comment?);
        let mut sizes = [number::<4>(&bytes, at + 24)?, number::<4>(&bytes, at + 20)?, number::<4>(&bytes, at + 42)?];
        widen(slice(&bytes, at as u64 + 46 + name, extra)?, &mut sizes)?;
        let [length, _, header] = sizes;
        let text = String::from_utf8_lossy(slice(&bytes, at as u64 + 46, name)?).into_owned();
        ensure!(
            number::<2>(&bytes, at + 10)? == 0,
            "the zip entry {text} is compressed; PyTorch does not write compressed entries"
        );
        let local = source.bytes(header, 30)?;
        let begin = header + 30 + number::<2>(&local, 26)? + number::<2>(&local, 28)?;
        ensure!(begin.checked_add(length).is_some_and(|end| end <= source.length), cut());
        entries.insert(text, Span { at: begin, length });
        at += 46 + (name + extra + comment) as usize;
    }
    Ok(entries)
}

/// The number of entries in the directory at the end of the zip, and the offset of the directory.
fn directory(source: &Source) -> Result<(u64, u64)> {
    /// Sizes of the last record, and of the record before it that locates the 64-bit record.
    const LAST: usize = 22;
    const LOCATOR: usize = 20;
    let tail = source.length.saturating_sub((LAST + LOCATOR + 0xffff) as u64);
    let bytes = source.bytes(tail, source.length - tail)?;
    let end = bytes.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(cut)?;
    ensure!(bytes.len() - end >= LAST, cut());
    // PyTorch always writes the 64-bit record.
    if let Some(locator) = end.checked_sub(LOCATOR).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07")) {
        let record = source.bytes(number::<8>(&bytes, locator + 8)?, 56)?;
        ensure!(record.starts_with(b"PK\x06\x06"), cut());
        return Ok((number::<8>(&record, 32)?, number::<8>(&record, 48)?));
    }
    Ok((number::<2>(&bytes, end + 10)?, number::<4>(&bytes, end + 16)?))
}

/// Replaces sizes that do not fit into 32 bits by those in the zip64 extra field, which lists only these.
fn widen(mut extra: &[u8], sizes: &mut [u64; 3]) -> Result<()> {
    while extra.len() >= 4 {
        let (id, length) = (number::<2>(extra, 0)?, number::<2>(extra, 2)?);
        let body = slice(extra, 4, length)?;
        if id == 1 {
            for (i, size) in sizes.iter_mut().filter(|size| **size == 0xffff_ffff).enumerate() {
                *size = number::<8>(body, 8 * i)?;
            }
        }
        extra = &extra[4 + length as usize..];
    }
    Ok(())
}

/// The folder within the zip that contains the pickle, with a trailing slash.
pub(super) fn folder(entries: &BTreeMap<String, Span>) -> Result<&str> {
    let found = entries.keys().find_map(|name| name.strip_suffix("data.pkl").filter(|folder| folder.ends_with('/')));
    found.ok_or_else(|| anyhow!("the zip has no data.pkl; is it a model?"))
}
