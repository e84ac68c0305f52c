//! Loads a file's bytes, unpacked if they are gzip, zip or zstd, and never more of them than text can be.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use zip::ZipArchive;

use super::raw::LONGEST;
use crate::files::pointer;

/// Limit for unpacked bytes: this many for any file, and for larger files a multiple of their size. Text shrinks to a
/// fifth; a file that shrinks to a thousandth was made to exhaust memory.
const UNPACKED: usize = 16 << 20;
const RATIO: usize = 50;
/// Bytes read at a time.
const PIECE: usize = 1 << 16;
/// How many members of an archive a message lists.
const LISTED: usize = 10;

const GZIP: &[u8] = &[0x1F, 0x8B];
const ZSTD: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD];
const ZIP: &[u8] = b"PK\x03\x04";

/// The first bytes of files that cannot be read, what they are, and what to do.
const OTHERS: [(&[u8], &str); 6] = [
    (b"BZh", "packed with bzip2; unpack it first"),
    (b"\xFD7zXZ\0", "packed with xz; unpack it first"),
    (b"7z\xBC\xAF\x27\x1C", "a 7z archive; unpack it first"),
    (b"\xD0\xCF\x11\xE0", "an old Excel or Word file; save it as CSV"),
    (b"%PDF", "a PDF; save its texts as CSV or as a text per line"),
    (b"SQLite format 3\0", "an SQLite database; export a table as CSV"),
];

/// A file's name in messages and reports: without its folders, which differ between machines.
pub(crate) fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The bytes of a file, and its name without the ending of a packed file.
pub(crate) struct Loaded {
    pub bytes: Vec<u8>,
    pub name: String,
}

/// The file's bytes, unpacked. What a file is is seen in its content, not in its name.
pub(crate) fn load(path: &Path, member: Option<&str>) -> Result<Loaded> {
    let file = open(path)?;
    let name = shown(path);
    let bytes = gather(file, usize::MAX, &name).with_context(|| format!("cannot read {}", path.display()))?;
    pointer::check_bytes(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let most = bytes.len().saturating_mul(RATIO).max(UNPACKED);
    if let Some((_, what)) = OTHERS.iter().find(|(start, _)| bytes.starts_with(start)) {
        bail!("{} is {what}", path.display());
    }
    if bytes.starts_with(ZIP) {
        return archived(&bytes, most, path, member);
    }
    if let Some(member) = member {
        bail!("{} is not a zip archive, so it has no member `{member}`", path.display());
    }
    let plain = |packed: &[&str]| {
        let lower = name.to_ascii_lowercase();
        let ending = packed.iter().find(|ending| lower.ends_with(*ending));
        name[..name.len() - ending.map_or(0, |ending| ending.len())].to_owned()
    };
    let (bytes, name) = if bytes.starts_with(GZIP) {
        let unpacked = gather(MultiGzDecoder::new(bytes.as_slice()), most, &name)
            .with_context(|| format!("{} is damaged gzip", path.display()))?;
        (unpacked, plain(&[".gz", ".gzip"]))
    } else if bytes.starts_with(ZSTD) {
        let unpacked = zstd::stream::read::Decoder::new(bytes.as_slice())
            .map_err(anyhow::Error::new)
            .and_then(|decoder| gather(decoder, most, &name))
            .with_context(|| format!("{} is damaged zstd", path.display()))?;
        (unpacked, plain(&[".zst", ".zstd"]))
    } else {
        (bytes, name)
    };
    if bytes.get(257..262) == Some(b"ustar") {
        bail!("{} is a tar archive; unpack it, and name its folder or a pattern of files", path.display());
    }
    Ok(Loaded { bytes, name })
}

/// Open a file for reading.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow::anyhow!("no such file: {}", path.display()),
        _ => anyhow::Error::new(error).context(format!("cannot read {}", path.display())),
    })
}

/// The only file of a zip archive, or the one called `member`.
fn archived(bytes: &[u8], most: usize, path: &Path, member: Option<&str>) -> Result<Loaded> {
    let damaged = || format!("{} is a damaged zip archive", path.display());
    let mut archive = ZipArchive::new(Cursor::new(bytes)).with_context(damaged)?;
    let names: Vec<String> = archive.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
    if names.iter().any(|name| name == "[Content_Types].xml") {
        bail!("{} is an Excel or Word file; save it as CSV", path.display());
    }
    let is_file = |name: &&String| {
        !name.ends_with('/')
            && !name.starts_with("__MACOSX/")
            && !name.rsplit('/').next().unwrap_or("").starts_with('.')
    };
    let mut files: Vec<&String> = names.iter().filter(is_file).collect();
    files.sort();
    let listed = || {
        let more = files.len().saturating_sub(LISTED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown: Vec<String> = files.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
        format!("{}{more}", shown.join(", "))
    };
    let wanted = match (member, files.as_slice()) {
        (Some(member), _) => files
            .iter()
            .find(|name| name.as_str() == member || name.rsplit('/').next() == Some(member))
            .with_context(|| format!("{} has no member `{member}`; its members are {}", path.display(), listed()))?,
        (None, [only]) => only,
        (None, []) => bail!("{} is an empty zip archive", path.display()),
        (None, _) => {
            bail!("{} holds {} files: {}; choose one with `member`", path.display(), files.len(), listed())
        }
    };
    let name = wanted.rsplit('/').next().unwrap_or(wanted).to_owned();
    let file = archive.by_name(wanted).with_context(damaged)?;
    if file.encrypted() {
        bail!("{} is encrypted; unpack it first", path.display());
    }
    let bytes = gather(file, most, &name).with_context(damaged)?;
    Ok(Loaded { bytes, name })
}

/// Read all bytes, but fail if a line is endless or there are more than `most` bytes. This is checked while reading,
/// before they fill the memory.
fn gather(mut from: impl Read, most: usize, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // The unfinished line at the end of what was read: its number and its start.
    let (mut line, mut start) = (1, 0);
    loop {
        let before = bytes.len();
        from.by_ref().take(PIECE as u64).read_to_end(&mut bytes)?;
        if bytes.len() == before {
            return Ok(bytes);
        }
        for (at, _) in bytes[before..].iter().enumerate().filter(|(_, byte)| b"\n\r".contains(byte)) {
            line += u64::from(bytes[before + at] == b'\n');
            start = before + at + 1;
        }
        if bytes.len() - start > LONGEST {
            bail!("{name}:{line}: the line is longer than {}, the limit for a row", mib(LONGEST));
        }
        if bytes.len() > most {
            bail!("it unpacks to more than {}, over {RATIO} times its size, so it is not packed text", mib(most));
        }
    }
}

fn mib(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}
