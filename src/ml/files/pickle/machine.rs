//! Interprets the few pickle instructions that `torch.save` writes for a state dict; none of them runs code.

use std::collections::HashMap;
use std::rc::Rc;

use anyhow::{Result, bail, ensure};

use super::bytes::{cut, number, slice};

/// Maximum nesting of tuples. A state dict needs three levels; deeper nesting could overflow the stack.
const DEEPEST: usize = 64;

/// A value that a pickle can build. Clones must be cheap, because two bytes of a pickle can request one.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Mark,
    Nothing,
    Number(i64),
    Text(Rc<str>),
    Tuple(Rc<Tuple>),
    /// The tensors of a dict by name; other items are dropped.
    Dict(Vec<(Rc<str>, Rc<View>)>),
    /// The texts of a list; other items are dropped.
    List(Vec<Rc<str>>),
    /// A function or class, by module and name; never called.
    Global(Rc<str>),
    Storage(Rc<Storage>),
    Tensor(Rc<View>),
}

#[derive(Debug)]
pub(super) struct Tuple {
    items: Vec<Value>,
    depth: usize,
}

impl Value {
    fn tuple(items: Vec<Value>) -> Result<Self> {
        let below = items.iter().map(|item| if let Value::Tuple(tuple) = item { tuple.depth } else { 0 });
        let depth = below.max().unwrap_or(0) + 1;
        ensure!(depth <= DEEPEST, "the pickle nests tuples more than {DEEPEST} levels deep");
        Ok(Value::Tuple(Rc::new(Tuple { items, depth })))
    }
}

/// A named block of values.
#[derive(Debug)]
pub(super) struct Storage {
    /// The storage class, which gives the number type.
    pub class: Rc<str>,
    pub key: Rc<str>,
}

/// A view of a storage.
#[derive(Debug)]
pub(super) struct View {
    pub storage: Rc<Storage>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// The pickle machine: a stack and a memo.
pub(super) struct Machine<'a> {
    code: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<u64, Value>,
}

impl<'a> Machine<'a> {
    /// Interprets the instructions of protocol 2 that `torch.save` uses (`pickletools` documents them). Returns the value that
    /// the pickle builds, and the length of the pickle in bytes.
    pub(super) fn run(code: &'a [u8]) -> Result<(Value, usize)> {
        let mut machine = Machine { code, at: 0, stack: Vec::new(), memo: HashMap::new() };
        let value = machine.value()?;
        Ok((value, machine.at))
    }

    fn value(&mut self) -> Result<Value> {
        let machine = self;
        loop {
            match machine.number::<1>()? as u8 {
                0x80 => drop(machine.number::<1>()?),                  // PROTO
                b'.' => return machine.pop(),                          // STOP
                b'(' => machine.stack.push(Value::Mark),               // MARK
                b'N' | 0x89 => machine.stack.push(Value::Nothing),     // NONE, NEWFALSE
                0x88 => machine.stack.push(Value::Number(1)),          // NEWTRUE
                b'}' => machine.stack.push(Value::Dict(Vec::new())),   // EMPTY_DICT
                b']' => machine.stack.push(Value::List(Vec::new())),   // EMPTY_LIST
                b')' => machine.stack.push(Value::tuple(Vec::new())?), // EMPTY_TUPLE
                b'K' => machine.push_number::<1>()?,                   // BININT1
                b'M' => machine.push_number::<2>()?,                   // BININT2
                b'J' => {
                    let number = machine.number::<4>()? as u32 as i32; // BININT
                    machine.stack.push(Value::Number(number.into()));
                }
                0x8a => {
                    let length = machine.number::<1>()?; // LONG1
                    let bytes = machine.take(length)?;
                    ensure!(bytes.len() <= 7, "the pickle contains a number that is too large");
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
                b'a' => {
                    let item = machine.pop()?; // APPEND
                    machine.append(vec![item])?;
                }
                b'e' => {
                    let items = machine.since_mark()?; // APPENDS
                    machine.append(items)?;
                }
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
                other => {
                    bail!("the pickle contains the instruction 0x{other:02x}, which is not allowed in a state dict")
                }
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
            // `torch.save` never recalls a dict or list. A copy would be useless and would cost memory for all
            // names of the model.
            Value::Dict(_) | Value::List(_) => Value::Nothing,
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
        let Some(Value::Dict(dict)) = self.stack.last_mut() else {
            bail!("the pickle adds items to something that is not a dict")
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            if let (Value::Text(name), Value::Tensor(tensor)) = (key, value) {
                dict.push((name, tensor));
            }
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> Result<()> {
        let Some(Value::List(list)) = self.stack.last_mut() else {
            bail!("the pickle appends to something that is not a list")
        };
        list.extend(items.into_iter().filter_map(|item| if let Value::Text(text) = item { Some(text) } else { None }));
        Ok(())
    }

    /// Reads `('storage', class, key, location, length)`. PyTorch before 0.4 appended a view of another storage, which is rejected.
    fn storage(&mut self) -> Result<()> {
        let Value::Tuple(parts) = self.pop()? else { bail!("the pickle describes a storage in an unknown format") };
        let [_, Value::Global(class), Value::Text(key), _, _, rest @ ..] = &parts.items[..] else {
            bail!("the pickle describes a storage in an unknown format")
        };
        ensure!(
            matches!(rest, [] | [Value::Nothing]),
            "a storage is a view of another one, as in files of PyTorch before 0.4; this is not supported"
        );
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
                "torch._utils _rebuild_tensor_v2" | "torch._utils _rebuild_tensor",
                [Value::Storage(storage), Value::Number(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
            ) => Value::Tensor(Rc::new(View {
                storage: storage.clone(),
                offset: usize::try_from(*offset).map_err(|_| cut())?,
                shape: sizes(&shape.items)?,
                strides: sizes(&strides.items)?,
            })),
            (other, _) => bail!("the pickle calls `{}`, which is not allowed in a state dict", other.replace(' ', ".")),
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
