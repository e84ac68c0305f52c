//! Maps strings to numbers with a double array: one walk finds every prefix of a text that is in the table.

use std::collections::VecDeque;

/// Marks a slot without a node.
const FREE: u32 = u32::MAX;

/// Marks a node at which no string ends.
const NONE: u32 = u32::MAX;

/// A trie over bytes. Node 0 is the root; the child of `node` by `byte` is at `base + byte` if its parent is `node`.
///
/// Source: J. Aoe, "An efficient digital search algorithm by using a double-array structure" (1989).
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy)]
struct Node {
    base: u32,
    parent: u32,
    value: u32,
}

const EMPTY: Node = Node { base: 0, parent: FREE, value: NONE };

/// Strings of a table with equal first bytes that still have to become a node.
struct Pending {
    node: usize,
    depth: usize,
    from: usize,
    to: usize,
}

impl Trie {
    /// Build a trie of strings and their values; of two equal strings the later one wins.
    pub(super) fn new(mut table: Vec<(&[u8], u32)>) -> Self {
        table.sort_by_key(|(key, _)| *key);
        let mut trie = Trie { nodes: vec![EMPTY; 512] };
        trie.nodes[0].parent = 0;
        // Almost all slots before this one are taken.
        let mut start = 1;
        let mut open = VecDeque::from([Pending { node: 0, depth: 0, from: 0, to: table.len() }]);
        while let Some(Pending { node, depth, mut from, to }) = open.pop_front() {
            while from < to && table[from].0.len() == depth {
                trie.nodes[node].value = table[from].1;
                from += 1;
            }
            let mut children: Vec<(u8, usize, usize)> = Vec::new();
            for (at, (key, _)) in table[from..to].iter().enumerate().map(|(at, row)| (from + at, row)) {
                match children.last_mut() {
                    Some((byte, _, end)) if *byte == key[depth] => *end = at + 1,
                    _ => children.push((key[depth], at, at + 1)),
                }
            }
            if children.is_empty() {
                continue;
            }
            let base = trie.room(&children, &mut start);
            trie.nodes[node].base = base as u32;
            for (byte, from, to) in children {
                let child = base + usize::from(byte);
                trie.nodes[child].parent = node as u32;
                open.push_back(Pending { node: child, depth: depth + 1, from, to });
            }
        }
        trie
    }

    /// A base at which every child finds a free slot.
    fn room(&mut self, children: &[(u8, usize, usize)], start: &mut usize) -> usize {
        let first = usize::from(children[0].0);
        let mut slot = (*start).max(first + 1);
        let (begin, mut taken) = (slot, 0);
        loop {
            if slot - first + 256 > self.nodes.len() {
                self.nodes.resize(self.nodes.len() * 2, EMPTY);
            }
            let is_free =
                |(byte, _, _): &(u8, usize, usize)| self.nodes[slot - first + usize::from(*byte)].parent == FREE;
            if self.nodes[slot].parent != FREE {
                taken += 1;
            } else if children.iter().all(is_free) {
                break;
            }
            slot += 1;
        }
        // If 19 of 20 slots are taken, later searches skip this region: a fuller array is not worth their time.
        if taken * 20 >= (slot - begin + 1) * 19 {
            *start = slot;
        }
        slot - first
    }

    /// Length and value of every string of the table that `text` begins with, shortest first.
    pub(super) fn prefixes<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mut node = 0;
        let steps = text.iter().map_while(move |byte| {
            let child = self.nodes[node as usize].base as usize + usize::from(*byte);
            let found = self.nodes.get(child).filter(|child| child.parent == node)?;
            node = child as u32;
            Some(found.value)
        });
        steps.enumerate().filter(|(_, value)| *value != NONE).map(|(at, value)| (at + 1, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_the_shortest_first() {
        let trie = Trie::new(vec![(b"ab", 1), (b"a", 2), (b"abcd", 3), (b"b", 4)]);
        assert_eq!(trie.prefixes(b"abcde").collect::<Vec<_>>(), [(1, 2), (2, 1), (4, 3)]);
        assert_eq!(trie.prefixes(b"bab").collect::<Vec<_>>(), [(1, 4)]);
        assert_eq!(trie.prefixes(b"\0").count() + trie.prefixes(b"").count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn all_prefixes_of_the_table_are_found_and_no_others(
            keys in proptest::collection::btree_set(proptest::collection::vec(0u8..=255, 1..5), 0..200),
            text in proptest::collection::vec(0u8..=255, 0..8),
        ) {
            let table: Vec<(&[u8], u32)> = keys.iter().enumerate().map(|(at, key)| (key.as_slice(), at as u32)).collect();
            let trie = Trie::new(table.clone());
            for text in keys.iter().map(Vec::as_slice).chain([text.as_slice()]) {
                let mut expected: Vec<(usize, u32)> =
                    table.iter().filter(|(key, _)| text.starts_with(key)).map(|(key, at)| (key.len(), *at)).collect();
                expected.sort();
                proptest::prop_assert_eq!(trie.prefixes(text).collect::<Vec<_>>(), expected);
            }
        }
    }
}
