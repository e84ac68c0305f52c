//! Finds the encoding of a file's bytes, and turns UTF-16 into UTF-8.

use std::borrow::Cow;

use anyhow::{Result, bail};

use super::raw::Encoding;

/// Bytes that show whether a file without a mark is UTF-16.
const LOOKED_AT: usize = 1 << 16;

/// The bytes without their mark, as UTF-8 if they were UTF-16, and their encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, Encoding)> {
    if bytes.starts_with(b"\xFF\xFE\0\0") || bytes.starts_with(b"\0\0\xFE\xFF") {
        bail!("the file is UTF-32; save it as UTF-8");
    }
    let marked = bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF");
    let wide = match bytes {
        [0xFF, 0xFE, ..] => Some(Encoding::Utf16Le),
        [0xFE, 0xFF, ..] => Some(Encoding::Utf16Be),
        _ => unmarked(bytes),
    };
    let Some(encoding) = wide else {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        return Ok((Cow::Borrowed(bytes), detect(bytes)));
    };
    let rest = if marked { &bytes[2..] } else { bytes };
    let decoder = if encoding == Encoding::Utf16Le { encoding_rs::UTF_16LE } else { encoding_rs::UTF_16BE };
    let (text, _) = decoder.decode_without_bom_handling(rest);
    Ok((Cow::Owned(text.into_owned().into_bytes()), encoding))
}

/// UTF-16 without a mark: its ASCII characters, of which rows have many, have a NUL on one side, always the same one.
fn unmarked(bytes: &[u8]) -> Option<Encoding> {
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let nuls = |odd: usize| start.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (nuls(0), nuls(1));
    let (more, less) = (even.max(odd), even.min(odd));
    // A twentieth of the characters are white space, digits or delimiters in any script.
    if more < 2 || more * 40 < start.len() || less * 8 > more {
        return None;
    }
    // NULs in UTF-8 do not make its line ends wide.
    let side = usize::from(odd < even);
    let ends = start.iter().filter(|byte| **byte == b'\n').count();
    let wide = start.chunks_exact(2).filter(|unit| unit[side] == b'\n' && unit[1 - side] == 0).count();
    if wide * 2 < ends + usize::from(ends > 0) {
        return None;
    }
    Some(if odd > even { Encoding::Utf16Le } else { Encoding::Utf16Be })
}

/// UTF-8 with a few truncated characters is still UTF-8. If most of the non-ASCII bytes are invalid, the file is not
/// UTF-8.
fn detect(bytes: &[u8]) -> Encoding {
    if std::str::from_utf8(bytes).is_ok() {
        return Encoding::Utf8;
    }
    let (mut right, mut wrong) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        right += chunk.valid().chars().filter(|letter| !letter.is_ascii()).count();
        wrong += usize::from(!chunk.invalid().is_empty());
    }
    if wrong > right { Encoding::Windows1252 } else { Encoding::Utf8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, little: bool) -> Vec<u8> {
        text.encode_utf16().flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    }

    #[test]
    fn utf16_is_read_with_and_without_a_mark() {
        let text = "text,label\nпривет мир, café 😀,a\n";
        for (little, mark, encoding) in
            [(true, b"\xFF\xFE", Encoding::Utf16Le), (false, b"\xFE\xFF", Encoding::Utf16Be)]
        {
            let plain = utf16(text, little);
            assert_eq!(decode(&plain).unwrap(), (Cow::Borrowed(text.as_bytes()), encoding));
            let marked = [mark.as_slice(), &plain].concat();
            assert_eq!(decode(&marked).unwrap(), (Cow::Borrowed(text.as_bytes()), encoding));
        }
        let message = decode(b"\xFF\xFE\0\0t\0\0\0").unwrap_err().to_string();
        assert_eq!(message, "the file is UTF-32; save it as UTF-8");
    }

    #[test]
    fn a_nul_in_utf8_does_not_make_it_utf16() {
        assert_eq!(decode(b"text,label\na\0b,c\0\n").unwrap().1, Encoding::Utf8);
    }
}
