//! Checks the messages of an Arrow IPC stream before the library reads it, because the library allocates any size that
//! a message declares.

use anyhow::{Result, anyhow};
use arrow_ipc::{RecordBatch, root_as_message};

/// Maximum number of bytes that one compressed byte may become, and what any buffer may become.
const RATIO: usize = 64;
const FLAT: usize = 1 << 20;
/// Begins a message since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Check that all messages lie in `bytes` and their buffers in them; returns the bytes up to the end of the stream.
pub(super) fn check(bytes: &[u8]) -> Result<&[u8]> {
    let damaged = || anyhow!("the file is damaged or was cut short");
    let size = |number: i64| usize::try_from(number).ok();
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(bytes);
        }
        let head = if rest.starts_with(&CONTINUATION) { 8 } else { 4 };
        let length = rest.get(head - 4..head).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        let length = length.ok_or_else(damaged)? as usize;
        if length == 0 {
            return Ok(&bytes[..at + head]);
        }
        let end = head.checked_add(length).ok_or_else(damaged)?;
        let message = root_as_message(rest.get(head..end).ok_or_else(damaged)?).map_err(|_| damaged())?;
        let body_length = size(message.bodyLength()).ok_or_else(damaged)?;
        let whole = end.checked_add(body_length).ok_or_else(damaged)?;
        let body = rest.get(end..whole).ok_or_else(damaged)?;
        let batch = match message.header_as_dictionary_batch() {
            Some(dictionary) => dictionary.data(),
            None => message.header_as_record_batch(),
        };
        if let Some(batch) = batch {
            buffers(&batch, body).ok_or_else(damaged)??;
        }
        at += whole;
    }
}

/// Whether the buffers of a batch lie in its body, and what they claim to unpack to.
fn buffers(batch: &RecordBatch, body: &[u8]) -> Option<Result<()>> {
    let size = |number: i64| usize::try_from(number).ok();
    size(batch.length())?;
    for node in batch.nodes()?.iter() {
        size(node.length()).zip(size(node.null_count()))?;
    }
    for buffer in batch.buffers()?.iter() {
        let (start, length) = (size(buffer.offset())?, size(buffer.length())?);
        let buffer = body.get(start..start.checked_add(length)?)?;
        if batch.compression().is_some() && length > 0 {
            let unpacked = i64::from_le_bytes(*buffer.first_chunk::<8>()?);
            // -1 stands for bytes that are not compressed.
            if unpacked != -1 && size(unpacked)? > length.saturating_mul(RATIO).saturating_add(FLAT) {
                return Some(Err(anyhow!("a buffer of {length} bytes claims to unpack to {unpacked}")));
            }
        }
    }
    Some(Ok(()))
}
