//! Reads the format that `torch.save` wrote before PyTorch 1.6: several pickles, then the storages that they name.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use anyhow::{Result, bail, ensure};

use super::bytes::{cut, number};
use super::machine::{Machine, Value, View};
use super::storage::numbers;
use super::zip::Span;
use crate::files::weights::stored::Source;

/// The pickle of PyTorch's magic number, 0x1950a86a20f9469cfc6c.
pub(super) const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The maximum size of the pickles; those of a model with a thousand tensors take 0.2 MB.
const PICKLES: u64 = 16 << 20;

/// Reads the state dict and the positions of its storages.
pub(super) fn read(source: &Source) -> Result<(Value, BTreeMap<String, Span>)> {
    let bytes = source.bytes(0, source.length.min(PICKLES))?;
    let mut at = MAGIC.len();
    let mut next = || -> Result<Value> {
        let (value, length) = Machine::run(bytes.get(at..).ok_or_else(cut)?)?;
        at += length;
        Ok(value)
    };
    let (protocol, _system, state) = (next()?, next()?, next()?);
    ensure!(matches!(protocol, Value::Number(1001)), "the file is not in the format of PyTorch 0.1.10 to 1.5");
    let Value::List(keys) = next()? else { bail!("the pickles list no storages") };
    let storages = storages(source, at as u64, &keys, &state)?;
    Ok((state, storages))
}

/// Locates the storages: they follow in the order of `keys`, each after its element count.
fn storages(source: &Source, mut at: u64, keys: &[Rc<str>], state: &Value) -> Result<BTreeMap<String, Span>> {
    let Value::Dict(items) = state else { bail!("the file does not contain a dict of tensors") };
    let class = |(_, view): &(Rc<str>, Rc<View>)| (view.storage.key.clone(), view.storage.class.clone());
    let classes: HashMap<Rc<str>, Rc<str>> = items.iter().map(class).collect();
    let mut storages = BTreeMap::new();
    for key in keys {
        let Some(class) = classes.get(key) else { bail!("no tensor uses the storage {key} of the file") };
        let width = numbers(class)?.bitsize() as u64 / 8;
        let count = number::<8>(&source.bytes(at, 8)?, 0)?;
        let length = count.checked_mul(width).ok_or_else(cut)?;
        let span = Span { at: at + 8, length };
        at = span.at.checked_add(length).filter(|end| *end <= source.length).ok_or_else(cut)?;
        storages.insert(key.to_string(), span);
    }
    Ok(storages)
}
