//! Whether the quotes of a CSV record are those of RFC 4180.

/// The quotes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quotes {
    /// Every quote that opens a field closes it.
    Fine,
    /// Text follows a closing quote, at this offset.
    TextAfter(usize),
    /// A quote opens and does not close.
    Open,
}

/// Look at the quotes of a record, which ends at the end of `span`. A quote inside a field that does not begin with one
/// is an ordinary character.
pub(crate) fn quotes(span: &[u8], delimiter: u8) -> Quotes {
    let mut is_open = false;
    // Where a pair of quotes, which stands for one, has its second.
    let mut skip = usize::MAX;
    for at in memchr::memchr_iter(b'"', span) {
        if at == skip {
            continue;
        }
        if !is_open {
            is_open = at == 0 || span[at - 1] == delimiter;
            continue;
        }
        if span.get(at + 1) == Some(&b'"') {
            skip = at + 1;
            continue;
        }
        is_open = false;
        let rest = &span[at + 1..];
        let after = rest.iter().position(|byte| *byte != b'\r').unwrap_or(rest.len());
        let is_end = rest.get(after).is_none_or(|byte| *byte == b'\n') || rest.first() == Some(&delimiter);
        if !is_end {
            return Quotes::TextAfter(at + 1);
        }
    }
    if is_open { Quotes::Open } else { Quotes::Fine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_open_and_close_fields() {
        for fine in [
            "a,b\n",
            "\"a, \"\"b\"\"\",c\r\n",
            "5\" tall,\"x\"",
            "\"a\r\r\nb\",c\r\n",
            "\"\",\"\"\n",
            "\"a\"\r\r\n",
            "",
        ] {
            assert_eq!(quotes(fine.as_bytes(), b','), Quotes::Fine, "{fine:?}");
        }
        assert_eq!(quotes(b"\"a\" b,c\n", b','), Quotes::TextAfter(3));
        assert_eq!(quotes(b"x,\"a\nb\nc \"d\",e\n", b','), Quotes::TextAfter(10));
        assert_eq!(quotes(b"x,\"a\nb", b','), Quotes::Open);
        assert_eq!(quotes(b"x;\"a\";b\n", b';'), Quotes::Fine);
    }
}
