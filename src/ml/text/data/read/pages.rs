//! Checks the page headers of a parquet file before the library reads it, because the library allocates any size that a
//! page declares.

use anyhow::{Result, anyhow, ensure};
use parquet::file::metadata::ParquetMetaData;

/// Maximum number of bytes that one compressed byte may become: three times what Snappy can reach.
const RATIO: usize = 64;
/// Maximum nesting of headers; the format has three levels.
const DEEPEST: usize = 8;

/// Compare the declared size of every page with the bytes that it has; any page may have `flat` bytes more.
pub(crate) fn check(bytes: &[u8], metadata: &ParquetMetaData, flat: usize) -> Result<()> {
    let damaged = || anyhow!("the file is damaged or was cut short");
    let size = |number: i64| usize::try_from(number).ok();
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let range = size(start).zip(size(column.compressed_size()));
        let end = range.and_then(|(start, length)| start.checked_add(length));
        let mut rest = range.zip(end).and_then(|((start, _), end)| bytes.get(start..end)).ok_or_else(damaged)?;
        while !rest.is_empty() {
            let (header, data) = Header::read(rest).ok_or_else(damaged)?;
            let (packed, unpacked) = size(header.packed).zip(size(header.unpacked)).ok_or_else(damaged)?;
            ensure!(
                unpacked <= packed.saturating_mul(RATIO).saturating_add(flat),
                "a page of {packed} bytes claims to unpack to {unpacked}"
            );
            rest = data.get(packed..).ok_or_else(damaged)?;
        }
    }
    Ok(())
}

/// The fields of a page header that this check needs.
#[derive(Default)]
struct Header {
    unpacked: i64,
    packed: i64,
}

impl Header {
    /// Read the header at the beginning of `bytes`; also returns the bytes after it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let mut header = Self::default();
        let mut reader = Thrift(bytes);
        let mut field = 0;
        while let Some(kind) = reader.field(&mut field)? {
            match (field, kind) {
                (2, INTEGER) => header.unpacked = reader.integer()?,
                (3, INTEGER) => header.packed = reader.integer()?,
                _ => reader.skip(kind, 0)?,
            }
        }
        Some((header, reader.0))
    }
}

/// A 32-bit integer in Thrift's compact protocol.
const INTEGER: u8 = 5;

/// A reader of Thrift's compact protocol (thrift-compact-protocol.md), limited to what page headers use.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The type of the next field, whose number replaces that of the last; no type at the end of a struct.
    fn field(&mut self, last: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = match byte >> 4 {
            0 => self.integer()?,
            step => last.checked_add(i64::from(step))?,
        };
        Some(Some(byte & 0xf))
    }

    /// Skip a value.
    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            // The type of the field contains the boolean value.
            1 | 2 => {}
            3 => drop(self.byte()?),
            4..=6 => drop(self.varint()?),
            7 => self.0 = self.0.get(8..)?,
            8 => {
                let length = usize::try_from(self.varint()?).ok()?;
                self.0 = self.0.get(length..)?;
            }
            12 if depth < DEEPEST => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, depth + 1)?;
                }
            }
            // Lists and maps do not occur in page headers.
            _ => return None,
        }
        Some(())
    }
}
