//! Opens a file as what it is: parquet and Arrow by their first bytes, everything else as text, unpacked and decoded.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::columnar;
use super::encoding;
use super::format;
use super::layout::Place;
use super::raw::Encoding;
use super::unpack;
use crate::text::data::declare::spec::Format;

/// What a file holds.
pub(crate) enum Content {
    Parquet,
    Arrow(Vec<u8>),
    Text(Text),
}

/// The text of a file, in UTF-8 if it was in UTF-16.
pub(crate) struct Text {
    /// What the source or the file's name says; None if neither says it.
    pub format: Option<Format>,
    /// The name of the file that was unpacked.
    pub name: String,
    pub encoding: Encoding,
    bytes: Vec<u8>,
    /// Where the text begins, after a mark.
    start: usize,
}

impl Text {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The encoding of [`Text::bytes`].
    pub(crate) fn decoded_as(&self) -> Encoding {
        match self.encoding {
            Encoding::Windows1252 => Encoding::Windows1252,
            _ => Encoding::Utf8,
        }
    }
}

/// Open a file; `member` is the file to read of a zip archive that holds several.
pub(crate) fn open(place: &Place, member: Option<&str>) -> Result<Content> {
    let start = beginning(&place.path)?;
    let named = |name: &str| place.format.map_or_else(|| format::by_name(name), |format| Ok(Some(format)));
    if start.starts_with(columnar::PARQUET) {
        fits(place, Format::Parquet)?;
        return Ok(Content::Parquet);
    }
    if start.starts_with(columnar::ARROW) || matches!(named(&unpack::shown(&place.path)), Ok(Some(Format::Arrow))) {
        fits(place, Format::Arrow)?;
        let bytes = std::fs::read(&place.path).with_context(|| format!("cannot read {}", place.path.display()))?;
        return Ok(Content::Arrow(bytes));
    }
    let loaded = unpack::load(&place.path, member)?;
    let format = named(&loaded.name)?;
    let (decoded, encoding) = encoding::decode(&loaded.bytes)?;
    let start = loaded.bytes.len() - decoded.len().min(loaded.bytes.len());
    let (bytes, start) = match decoded {
        std::borrow::Cow::Owned(bytes) => (bytes, 0),
        // A mark at the beginning is left out, and nothing else.
        std::borrow::Cow::Borrowed(_) => (loaded.bytes, start),
    };
    Ok(Content::Text(Text { format, name: loaded.name, encoding, bytes, start }))
}

/// Whether the source's format, if it gives one, is what the file is.
fn fits(place: &Place, found: Format) -> Result<()> {
    let given = place.format.filter(|format| *format != found && *format != Format::Dataset);
    let (what, name) = if found == Format::Parquet { ("a parquet", "parquet") } else { ("an Arrow", "arrow") };
    ensure!(given.is_none(), "{} is {what} file; set format = \"{name}\"", place.name);
    Ok(())
}

/// The first bytes of a file.
fn beginning(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    unpack::open(path)?.take(8).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}
