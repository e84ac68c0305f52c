//! `pytorch_model.bin`: a zip of plain tensor data and one pickle, read without running any of it.
//!
//! A pickle is a program, and Python runs it. This reader knows the few instructions that
//! `torch.save` writes for a state dict; names of functions stay names, and only three of them mean
//! something here. Anything else is an error.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use memmap2::Mmap;

use super::host::{HostTensor, HostTensors};

/// Tuples in tuples: a state dict needs three; more than this could only be meant to overflow the stack.
const DEEPEST: usize = 64;
/// Axes of a tensor, as in PyTorch.
const MOST_AXES: usize = 64;
/// Values read for each byte of the file. Tensors may share their data, as tied embeddings do, but a small file must not
/// become a model without end.
const SHARED: usize = 4;

/// Reads the tensors of a state dict as f32.
pub fn read(path: &Path) -> Result<HostTensors> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    // SAFETY: as for safetensors files, see `weights::read`.
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping {}", path.display()))?;
    decode(&map).with_context(|| format!("reading {}", path.display()))
}

fn decode(bytes: &[u8]) -> Result<HostTensors> {
    ensure!(
        bytes.starts_with(b"PK"),
        "not the zip that PyTorch writes since 1.6; load and save the model again in Python with `save_pretrained`"
    );
    let entries = entries(bytes)?;
    let (name, pickle) = entries
        .iter()
        .find(|(name, _)| name.ends_with("/data.pkl"))
        .ok_or_else(|| anyhow!("the zip has no data.pkl; is it a model?"))?;
    let folder = name.trim_end_matches("data.pkl");
    let Value::Dict(items) = Machine::run(pickle)? else { bail!("it holds no dict of tensors") };
    let mut tensors = HostTensors::new();
    let mut room = bytes.len().saturating_mul(SHARED);
    for (name, tensor) in items {
        let data = entries.get(&format!("{folder}data/{}", tensor.storage.key));
        let data = data.ok_or_else(|| anyhow!("the data of tensor {name} is missing"))?;
        room = room.checked_sub(tensor.size()?).ok_or_else(|| anyhow!("its tensors share the same data too often"))?;
        let tensor = tensor.values(data).with_context(|| format!("tensor {name}"))?;
        tensors.insert(name.to_string(), tensor);
    }
    ensure!(!tensors.is_empty(), "its dict holds no tensors");
    Ok(tensors)
}

/// Little-endian numbers at a place in `bytes`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64> {
    let end = at.checked_add(N).ok_or_else(cut)?;
    let mut whole = [0u8; 8];
    whole[..N].copy_from_slice(bytes.get(at..end).ok_or_else(cut)?);
    Ok(u64::from_le_bytes(whole))
}

fn cut() -> anyhow::Error {
    anyhow!("the file is damaged or was cut short")
}

fn slice(bytes: &[u8], at: u64, length: u64) -> Result<&[u8]> {
    let at = usize::try_from(at).map_err(|_| cut())?;
    let end = at.checked_add(usize::try_from(length).map_err(|_| cut())?).ok_or_else(cut)?;
    bytes.get(at..end).ok_or_else(cut)
}

/// The files of a zip without compression, by name (APPNOTE.TXT 4.3, zip64 included).
fn entries(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>> {
    let tail = bytes.len().saturating_sub(22 + 0xffff);
    let end = bytes[tail..].windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(cut)? + tail;
    let (mut count, mut at) = (number::<2>(bytes, end + 10)?, number::<4>(bytes, end + 16)?);
    // PyTorch writes the 64-bit record whatever the size.
    if let Some(locator) = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07")) {
        let record = usize::try_from(number::<8>(bytes, locator + 8)?).map_err(|_| cut())?;
        ensure!(bytes.get(record..).is_some_and(|rest| rest.starts_with(b"PK\x06\x06")), cut());
        (count, at) = (number::<8>(bytes, record + 32)?, number::<8>(bytes, record + 48)?);
    }
    let mut at = usize::try_from(at).map_err(|_| cut())?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        ensure!(bytes.get(at..).is_some_and(|rest| rest.starts_with(b"PK\x01\x02")), cut());
        let [name, extra, comment] = [28, 30, 32].map(|field| number::<2>(bytes, at + field));
        let (name, extra, comment) = (name?, extra?, comment?);
        let mut sizes = [number::<4>(bytes, at + 24)?, number::<4>(bytes, at + 20)?, number::<4>(bytes, at + 42)?];
        widen(slice(bytes, at as u64 + 46 + name, extra)?, &mut sizes)?;
        let [size, _, header] = sizes;
        let text = String::from_utf8_lossy(slice(bytes, at as u64 + 46, name)?).into_owned();
        ensure!(number::<2>(bytes, at + 10)? == 0, "its entry {text} is compressed, which PyTorch never does");
        let local = usize::try_from(header).map_err(|_| cut())?;
        let skip = 30 + number::<2>(bytes, local.saturating_add(26))? + number::<2>(bytes, local.saturating_add(28))?;
        entries.insert(text, slice(bytes, header + skip, size)?);
        at += 46 + (name + extra + comment) as usize;
    }
    Ok(entries)
}

/// Takes sizes that do not fit 32 bits from the zip64 extra field, which holds those alone.
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

/// What a pickle can build here. A copy costs nothing: two bytes of a pickle ask for one.
#[derive(Debug, Clone)]
enum Value {
    Mark,
    Nothing,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<Tuple>),
    /// Its tensors by name; what else a dict may hold is of no use here.
    Dict(Vec<(Rc<str>, Rc<Tensor>)>),
    /// A function or class, by module and name; never called.
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

#[derive(Debug)]
struct Tuple {
    items: Vec<Value>,
    depth: usize,
}

impl Value {
    fn tuple(items: Vec<Value>) -> Result<Self> {
        let below = items.iter().map(|item| if let Value::Tuple(tuple) = item { tuple.depth } else { 0 });
        let depth = below.max().unwrap_or(0) + 1;
        ensure!(depth <= DEEPEST, "its pickle nests tuples more than {DEEPEST} deep");
        Ok(Value::Tuple(Rc::new(Tuple { items, depth })))
    }
}

/// A block of numbers in a zip entry.
#[derive(Debug)]
struct Storage {
    class: Rc<str>,
    key: Rc<str>,
}

/// A view of a storage.
#[derive(Debug)]
struct Tensor {
    storage: Rc<Storage>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Tensor {
    fn size(&self) -> Result<usize> {
        ensure!(self.shape.len() <= MOST_AXES, "a tensor of its has {} axes", self.shape.len());
        self.shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).ok_or_else(cut)
    }

    fn values(&self, bytes: &[u8]) -> Result<HostTensor> {
        let convert: fn(&[u8]) -> f32 = match &*self.storage.class {
            "torch FloatStorage" => |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            "torch HalfStorage" => |b| half::f16::from_le_bytes([b[0], b[1]]).to_f32(),
            "torch BFloat16Storage" => |b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            "torch DoubleStorage" => |b| f64::from_bits(number::<8>(b, 0).unwrap_or(0)) as f32,
            // Index buffers that old checkpoints carry.
            "torch LongStorage" => |b| number::<8>(b, 0).unwrap_or(0) as i64 as f32,
            other => bail!("values of a {other} are not supported"),
        };
        let width = match &*self.storage.class {
            "torch FloatStorage" => 4,
            "torch HalfStorage" | "torch BFloat16Storage" => 2,
            _ => 8,
        };
        let size = self.size()?;
        let limit = bytes.len() / width;
        ensure!(self.strides.len() == self.shape.len() && size <= limit.max(1), cut());
        let mut data = Vec::with_capacity(size);
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..size {
            let at = index
                .iter()
                .zip(&self.strides)
                .try_fold(self.offset, |at, (i, stride)| i.checked_mul(*stride).and_then(|step| at.checked_add(step)));
            let at = at.filter(|at| *at < limit).ok_or_else(cut)?;
            data.push(convert(&bytes[at * width..(at + 1) * width]));
            // The next index, last axis first.
            for (i, dim) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < *dim {
                    break;
                }
                *i = 0;
            }
        }
        Ok(HostTensor { shape: self.shape.clone(), data })
    }
}

/// The pickle machine: a stack and a memo.
struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u64, Value>,
}

impl<'a> Machine<'a> {
    /// Runs the instructions of protocol 2 that `torch.save` uses (`pickletools` names them).
    fn run(code: &'a [u8]) -> Result<Value> {
        let mut machine = Machine { code, at: 0, stack: Vec::new(), memo: HashMap::new() };
        loop {
            match machine.number::<1>()? as u8 {
                0x80 => drop(machine.number::<1>()?),                         // PROTO
                b'.' => return machine.pop(),                                 // STOP
                b'(' => machine.stack.push(Value::Mark),                      // MARK
                b'N' | 0x89 => machine.stack.push(Value::Nothing),            // NONE, NEWFALSE
                0x88 => machine.stack.push(Value::Number(1)),                 // NEWTRUE
                b'}' => machine.stack.push(Value::Dict(Vec::new())),          // EMPTY_DICT
                b')' | b']' => machine.stack.push(Value::tuple(Vec::new())?), // EMPTY_TUPLE, EMPTY_LIST
                b'K' => machine.push_number::<1>()?,                          // BININT1
                b'M' => machine.push_number::<2>()?,                          // BININT2
                b'J' => {
                    let number = machine.number::<4>()? as u32 as i32; // BININT
                    machine.stack.push(Value::Number(number.into()));
                }
                0x8a => {
                    let length = machine.number::<1>()?; // LONG1
                    let bytes = machine.take(length)?;
                    ensure!(bytes.len() <= 7, "a number in its pickle is too large");
                    let mut whole = [0u8; 8];
                    whole[..bytes.len()].copy_from_slice(bytes);
                    machine.stack.push(Value::Number(i64::from_le_bytes(whole)));
                }
                b'G' => {
                    machine.take(8)?; // BINFLOAT
                    machine.stack.push(Value::Nothing);
                }
                b'X' => {
                    let length = machine.number::<4>()?; // BINUNICODE
                    let text = String::from_utf8_lossy(machine.take(length)?).into_owned();
                    machine.stack.push(Value::Text(text.into()));
                }
                b'c' => {
                    let global = format!("{} {}", machine.line()?, machine.line()?); // GLOBAL
                    machine.stack.push(Value::Global(global.into()));
                }
                b'q' => machine.remember::<1>()?, // BINPUT
                b'r' => machine.remember::<4>()?, // LONG_BINPUT
                b'h' => machine.recall::<1>()?,   // BINGET
                b'j' => machine.recall::<4>()?,   // LONG_BINGET
                b't' => {
                    let items = machine.since_mark()?; // TUPLE
                    machine.stack.push(Value::tuple(items)?);
                }
                op @ 0x85..=0x87 => {
                    let keep = machine.stack.len().checked_sub(usize::from(op) - 0x84); // TUPLE1, 2, 3
                    let items = machine.stack.split_off(keep.ok_or_else(cut)?);
                    machine.stack.push(Value::tuple(items)?);
                }
                b'a' => drop(machine.pop()?),        // APPEND
                b'e' => drop(machine.since_mark()?), // APPENDS
                b's' => {
                    let (value, key) = (machine.pop()?, machine.pop()?); // SETITEM
                    machine.insert(vec![key, value])?;
                }
                b'u' => {
                    let items = machine.since_mark()?; // SETITEMS
                    machine.insert(items)?;
                }
                b'b' => drop(machine.pop()?), // BUILD: attributes of the dict
                b'Q' => machine.storage()?,   // BINPERSID
                b'R' => machine.reduce()?,    // REDUCE
                other => bail!("its pickle has an instruction (0x{other:02x}) that no state dict needs"),
            }
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let bytes = slice(self.code, self.at as u64, length)?;
        self.at += bytes.len();
        Ok(bytes)
    }

    fn number<const N: usize>(&mut self) -> Result<u64> {
        let value = number::<N>(self.code, self.at)?;
        self.at += N;
        Ok(value)
    }

    fn push_number<const N: usize>(&mut self) -> Result<()> {
        let value = self.number::<N>()? as i64;
        self.stack.push(Value::Number(value));
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let rest = &self.code[self.at.min(self.code.len())..];
        let length = rest.iter().position(|b| *b == b'\n').ok_or_else(cut)?;
        let text = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(text)
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().ok_or_else(cut)
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or_else(cut)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn remember<const N: usize>(&mut self) -> Result<()> {
        let slot = self.number::<N>()?;
        let value = match self.stack.last().ok_or_else(cut)? {
            // The state dict itself is filled later and never asked for again; a copy would be of
            // no use and cost a model's worth of names.
            Value::Dict(_) => Value::Nothing,
            value => value.clone(),
        };
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Result<()> {
        let slot = self.number::<N>()?;
        let value = self.memo.get(&slot).cloned().ok_or_else(cut)?;
        self.stack.push(value);
        Ok(())
    }

    fn insert(&mut self, items: Vec<Value>) -> Result<()> {
        let Some(Value::Dict(dict)) = self.stack.last_mut() else { bail!("its pickle fills what is no dict") };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            if let (Value::Text(name), Value::Tensor(tensor)) = (key, value) {
                dict.push((name, tensor));
            }
        }
        Ok(())
    }

    /// `('storage', class, key, place, length)`
    fn storage(&mut self) -> Result<()> {
        let Value::Tuple(parts) = self.pop()? else { bail!("its pickle names a storage in an unknown way") };
        let [_, Value::Global(class), Value::Text(key), ..] = &parts.items[..] else {
            bail!("its pickle names a storage in an unknown way")
        };
        self.stack.push(Value::Storage(Rc::new(Storage { class: class.clone(), key: key.clone() })));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (Value::Tuple(arguments), Value::Global(function)) = (self.pop()?, self.pop()?) else {
            return Err(cut());
        };
        let value = match (&*function, &arguments.items[..]) {
            ("collections OrderedDict", _) => Value::Dict(Vec::new()),
            ("torch._utils _rebuild_parameter", [tensor @ Value::Tensor(_), ..]) => tensor.clone(),
            (
                "torch._utils _rebuild_tensor_v2",
                [Value::Storage(storage), Value::Number(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
            ) => Value::Tensor(Rc::new(Tensor {
                storage: storage.clone(),
                offset: usize::try_from(*offset).map_err(|_| cut())?,
                shape: sizes(&shape.items)?,
                strides: sizes(&strides.items)?,
            })),
            (other, _) => bail!("its pickle calls `{}`, which no state dict needs", other.replace(' ', ".")),
        };
        self.stack.push(value);
        Ok(())
    }
}

fn sizes(values: &[Value]) -> Result<Vec<usize>> {
    let size = |value: &Value| match value {
        Value::Number(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    values.iter().map(size).collect::<Option<_>>().ok_or_else(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by torch 2.15 (`tests/fixtures/pickle/make.py`): a view, halves, buffers, a parameter.
    const STATE: &[u8] = include_bytes!("../../../tests/fixtures/pickle/state.bin");
    const LEGACY: &[u8] = include_bytes!("../../../tests/fixtures/pickle/legacy.bin");
    const HOSTILE: &[u8] = include_bytes!("../../../tests/fixtures/pickle/hostile.bin");

    fn error(bytes: &[u8]) -> String {
        format!("{:#}", decode(bytes).map(|_| ()).expect_err("refused"))
    }

    #[test]
    fn tensors_of_every_kind_read_as_f32() {
        let tensors = decode(STATE).expect("read");
        let get = |name: &str| (tensors[name].shape.clone(), tensors[name].data.clone());
        let rows: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(get("a.weight"), (vec![3, 4], rows));
        let columns = vec![0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(get("view"), (vec![4, 3], columns));
        assert_eq!(get("half"), (vec![2], vec![1.5, -2.0]));
        assert_eq!(get("bf"), (vec![2], vec![1.5, -2.0]));
        assert_eq!(get("ids"), (vec![1, 4], vec![0.0, 1.0, 2.0, 3.0]));
        assert_eq!(get("scalar"), (vec![], vec![3.0]));
        assert_eq!(get("param"), (vec![2, 2], vec![1.0; 4]));
        assert_eq!(tensors.len(), 7);
    }

    #[test]
    fn code_in_a_pickle_is_named_and_not_run() {
        assert_eq!(error(HOSTILE), "its pickle calls `posix.system`, which no state dict needs");
    }

    #[test]
    fn older_formats_and_damage_are_clear_errors() {
        assert!(error(LEGACY).starts_with("not the zip that PyTorch writes since 1.6"));
        for length in [2, 100, STATE.len() / 2, STATE.len() - 10] {
            assert!(decode(&STATE[..length]).is_err(), "{length}");
        }
        // A changed byte may give other numbers or an error, but never a crash.
        for at in 0..STATE.len() {
            let mut changed = STATE.to_vec();
            changed[at] ^= 0x55;
            drop(decode(&changed));
        }
    }
}
