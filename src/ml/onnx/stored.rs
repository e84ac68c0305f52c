//! Counts the parameters that an ONNX file stores, without holding them in memory.
//!
//! Source of the message and field numbers: `onnx.proto`.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::tensor::Type;

/// Bytes read at a time.
const PIECE: usize = 1 << 16;
/// The longest name or shape that is read; a longer one is not from `convert`.
const LONGEST: u64 = 1 << 16;

/// How many parameters a file stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub parameters: u64,
    pub non_zero: u64,
}

/// Count the parameters of a file that `convert` wrote. Constants of the graph and the scales of integers do not count.
pub(super) fn count(path: &Path) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut file = Reader::open(path)?;
    let end = file.length;
    file.fields(end, |file, field, length| {
        // ModelProto.graph, GraphProto.initializer
        if field != 7 {
            return file.skip(length);
        }
        let end = file.at + length;
        file.fields(end, |file, field, length| {
            if field != 5 {
                return file.skip(length);
            }
            let found = tensor(file, path, length)?;
            counts.parameters += found.parameters;
            counts.non_zero += found.non_zero;
            Ok(())
        })
    })?;
    Ok(counts)
}

/// Read a `TensorProto`.
fn tensor(file: &mut Reader, path: &Path, length: u64) -> Result<Counts> {
    let (mut name, mut ty, mut numbers, mut beside) = (String::new(), 0, None, Beside::default());
    let end = file.at + length;
    file.fields(end, |file, field, length| match field {
        2 => {
            ty = file.last_number;
            Ok(())
        }
        8 => {
            name = file.text(length)?;
            Ok(())
        }
        // The name comes before the data, as `convert` and ONNX's own writer order fields.
        9 if is_parameter(&name) => {
            numbers = Some(file.numbers(bytes_each(ty)?, length)?);
            Ok(())
        }
        13 => {
            let end = file.at + length;
            // StringStringEntryProto: key and value.
            let mut entry = [String::new(), String::new()];
            file.fields(end, |file, field, length| match field {
                1 | 2 => {
                    entry[field as usize - 1] = file.text(length)?;
                    Ok(())
                }
                _ => file.skip(length),
            })?;
            let [key, value] = entry;
            beside.set(&key, value)
        }
        _ => file.skip(length),
    })?;
    if !is_parameter(&name) {
        return Ok(Counts::default());
    }
    if let Some(counts) = numbers {
        return Ok(counts);
    }
    let mut other = Reader::open(&path.with_file_name(&beside.location))?;
    other.skip(beside.offset)?;
    other.numbers(bytes_each(ty)?, beside.length)
}

/// Whether a tensor is a parameter: constants have a `/` in their names, and scales end with `_scale`.
fn is_parameter(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.ends_with("_scale")
}

fn bytes_each(ty: u64) -> Result<u64> {
    let known = [Type::Float, Type::Int8, Type::Float16];
    let found = known.into_iter().find(|known| *known as u64 == ty);
    Ok(found.with_context(|| format!("a parameter has type {ty}, which `convert` does not write"))?.bytes())
}

/// Where a tensor's data is, if it is in a second file.
#[derive(Default)]
struct Beside {
    location: String,
    offset: u64,
    length: u64,
}

impl Beside {
    fn set(&mut self, key: &str, value: String) -> Result<()> {
        let number = || value.parse().with_context(|| format!("`{value}` is not a valid {key} of external data"));
        match key {
            // A name, never a path: the file is beside.
            "location" => {
                self.location = Path::new(&value).file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            "offset" => self.offset = number()?,
            "length" => self.length = number()?,
            _ => {}
        }
        Ok(())
    }
}

/// A file read in protobuf's wire format.
struct Reader {
    file: BufReader<File>,
    at: u64,
    length: u64,
    /// The value of the field that was read last, if it was a number.
    last_number: u64,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(context)?;
        let length = file.metadata().with_context(context)?.len();
        Ok(Self { file: BufReader::with_capacity(PIECE, file), at: 0, length, last_number: 0 })
    }

    /// Pass each field of a message that ends at `end` to `see`, with the length of its content, which `see` must read or skip.
    /// A number has been read already: its length is 0.
    fn fields(&mut self, end: u64, mut see: impl FnMut(&mut Self, u64, u64) -> Result<()>) -> Result<()> {
        ensure!(end <= self.length, "it is cut off: a message ends at byte {end} of {}", self.length);
        while self.at < end {
            let tag = self.varint()?;
            let length = match tag & 7 {
                0 => {
                    self.last_number = self.varint()?;
                    0
                }
                1 => 8,
                2 => self.varint()?,
                5 => 4,
                other => bail!("it is not protobuf: wire type {other} at byte {}", self.at),
            };
            let content = self.at.checked_add(length).filter(|content| *content <= end);
            let content = content.with_context(|| format!("it is damaged at byte {}", self.at))?;
            see(self, tag >> 3, length)?;
            ensure!(self.at == content, "it is damaged at byte {}", self.at);
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.read(&mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        bail!("it is not protobuf: a number of more than 64 bits before byte {}", self.at)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => anyhow::anyhow!("it is cut off at byte {}", self.length),
            _ => error.into(),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let within = length < self.file.buffer().len() as u64;
        if within {
            self.file.consume(length as usize);
        } else {
            self.file.seek(SeekFrom::Start(self.at + length))?;
        }
        self.at += length;
        Ok(())
    }

    fn text(&mut self, length: u64) -> Result<String> {
        ensure!(length <= LONGEST, "it has a name of {length} bytes");
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Count numbers of so many bytes each. A float is 0 if all bits but the sign are.
    fn numbers(&mut self, each: u64, length: u64) -> Result<Counts> {
        let mut counts = Counts { parameters: length / each, non_zero: 0 };
        let mut piece = vec![0; PIECE];
        let mut left = length;
        while left > 0 {
            let piece = &mut piece[..(left.min(PIECE as u64)) as usize];
            self.read(piece)?;
            counts.non_zero += match each {
                1 => piece.iter().filter(|byte| **byte != 0).count(),
                2 => piece.chunks(2).filter(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]) << 1 != 0).count(),
                _ => piece.chunks(4).filter(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) << 1 != 0).count(),
            } as u64;
            left -= piece.len() as u64;
        }
        Ok(counts)
    }
}
