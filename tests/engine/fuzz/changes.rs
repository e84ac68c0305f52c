//! Random changes to valid files, and the memory limit for reading the results.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::memory;

/// `cases` runs, unless `PROPTEST_CASES` asks for more.
pub fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    // Failures that were found become separate tests, not a file of seeds.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..default }
}

/// One change to a file's bytes. Positions are shares of the length, so that they fit any file.
#[derive(Debug, Clone)]
pub enum Change {
    Flip(Index, u8),
    Delete(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
    /// A little-endian number, often an extreme one.
    Number(Index, Vec<u8>),
    /// A line of the file, copied to another position.
    Line(Index, Index),
    Cut(Index),
}

pub fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec(change(), 1..6)
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let number = prop_oneof![
        prop::sample::select(vec![
            0u64,
            1,
            0x7f,
            0xff,
            0xffff,
            0x7fff_ffff,
            0xffff_ffff,
            1 << 60,
            u64::MAX >> 1,
            u64::MAX
        ]),
        any::<u64>(),
        0u64..4096,
    ];
    let number =
        (number, prop::sample::select(vec![2usize, 4, 8])).prop_map(|(n, width)| n.to_le_bytes()[..width].to_vec());
    prop_oneof![
        4 => (at(), 1u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => (at(), 1usize..64).prop_map(|(at, n)| Change::Delete(at, n)),
        1 => (at(), 1usize..64).prop_map(|(at, n)| Change::Repeat(at, n)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        3 => (at(), number).prop_map(|(at, bytes)| Change::Number(at, bytes)),
        1 => (at(), at()).prop_map(|(from, to)| Change::Line(from, to)),
        1 => at().prop_map(Change::Cut),
    ]
}

/// The bytes after all changes.
pub fn changed(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let end = |at: usize, n: usize, bytes: &[u8]| (at + n).min(bytes.len());
        match change {
            Change::Flip(at, bits) => *at.get_mut(&mut bytes) ^= bits,
            Change::Delete(at, n) => {
                let at = at.index(bytes.len());
                bytes.drain(at..end(at, *n, &bytes));
            }
            Change::Repeat(at, n) => {
                let at = at.index(bytes.len());
                let piece = bytes[at..end(at, *n, &bytes)].to_vec();
                bytes.splice(at..at, piece);
            }
            Change::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.iter().copied());
            }
            Change::Number(at, piece) => {
                let at = at.index(bytes.len());
                let room = end(at, piece.len(), &bytes);
                bytes[at..room].copy_from_slice(&piece[..room - at]);
            }
            Change::Line(from, to) => {
                let lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
                let piece = from.get::<&[u8]>(&lines).to_vec();
                let to = to.index(lines.len());
                let at = lines[..to].iter().map(|l| l.len()).sum::<usize>();
                bytes.splice(at..at, piece);
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

/// Run `work` and check its peak memory against a limit that grows with the input.
#[track_caller]
pub fn bounded<T: Send>(input: usize, work: impl FnOnce() -> T + Send) -> T {
    const EACH: usize = 128;
    const FLAT: usize = 64 << 20;
    let (result, peak) = memory::peak(work);
    assert!(peak <= input * EACH + FLAT, "{peak} bytes of memory for {input} bytes of input");
    result
}
