//! Pairs of texts: the special tokens around and between them, their token types, and how a pair is cut.

use anyhow::{Context, Result, anyhow, ensure};
use tokenizers::Tokenizer as Library;

use super::encoded::Encoded;
use super::settings::Side;

/// What becomes one row: a text, or a pair of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts<'a> {
    pub first: &'a str,
    pub second: Option<&'a str>,
}

/// Special tokens that follow each other, with their types.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    ids: Vec<u32>,
    types: Vec<u8>,
}

/// What a tokenizer puts around the two texts of a pair: `[CLS] A [SEP] B [SEP]` for BERT and DeBERTa,
/// `<s> A </s></s> B </s>` for RoBERTa.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PairEnds {
    before: Run,
    between: Run,
    after: Run,
    /// The types of the tokens of the first and of the second text.
    types: [u8; 2],
}

impl PairEnds {
    /// What the library's post-processor does. Without `has_types` the model gets no types, whatever it gives.
    pub(super) fn of(library: &Library, has_types: bool) -> Result<Self> {
        let text = library.encode_fast("a", false).map_err(|error| anyhow!(error))?.get_ids().to_vec();
        let whole = library.encode_fast(("a", "a"), true).map_err(|error| anyhow!(error))?;
        let ids = whole.get_ids();
        let find = |from: usize| {
            let at = ids.get(from..)?.windows(text.len().max(1)).position(|window| window == text)?;
            Some(from + at)
        };
        let places = find(0).and_then(|first| Some((first, find(first + text.len())?)));
        let (first, second) =
            places.context("it puts special tokens elsewhere than before, between and after the two texts")?;
        let types = whole.get_type_ids().iter().map(|kind| u8::try_from(*kind));
        let types: Vec<u8> = types.collect::<Result<_, _>>().context("it gives token types above 255")?;
        let kind = |at: usize| if has_types { types.get(at).copied().unwrap_or(0) } else { 0 };
        let run = |from: usize, to: usize| Run { ids: ids[from..to].to_vec(), types: (from..to).map(kind).collect() };
        Ok(PairEnds {
            before: run(0, first),
            between: run(first + text.len(), second),
            after: run(second + text.len(), ids.len()),
            types: [kind(first), kind(second)],
        })
    }

    fn special(&self) -> usize {
        self.before.ids.len() + self.between.ids.len() + self.after.ids.len()
    }

    /// Fail if rows of `max_length` ids have no room for both texts.
    pub(super) fn check(&self, max_length: usize) -> Result<()> {
        let special = self.special();
        ensure!(
            max_length >= special + 2,
            "max-length {max_length} leaves no room for two texts: each pair has {special} special tokens; use at least {}",
            special + 2
        );
        Ok(())
    }

    /// The row of two texts, cut to `max_length` ids, which [`check`](Self::check) accepted.
    pub(super) fn join(&self, mut first: Vec<u32>, mut second: Vec<u32>, max_length: usize, side: Side) -> Encoded {
        let full = first.len() + second.len() + self.special();
        let [a, b] = longest_first([first.len(), second.len()], max_length.saturating_sub(self.special()));
        cut(&mut first, a, side);
        cut(&mut second, b, side);
        let same = |kind: u8, count: usize| std::iter::repeat_n(kind, count);
        let Self { before, between, after, types } = self;
        let mut of_tokens: Vec<u8> = before.types.clone();
        of_tokens.extend(same(types[0], a).chain(between.types.iter().copied()).chain(same(types[1], b)));
        of_tokens.extend_from_slice(&after.types);
        if of_tokens.iter().all(|kind| *kind == 0) {
            of_tokens.clear();
        }
        let ids = [&before.ids[..], &first, &between.ids, &second, &after.ids].concat();
        Encoded { ids, types: of_tokens, full }
    }
}

fn cut(ids: &mut Vec<u32>, length: usize, side: Side) {
    match side {
        Side::Right => ids.truncate(length),
        Side::Left => drop(ids.drain(..ids.len() - length)),
    }
}

/// The lengths of two texts that together may have `room` tokens: the longer one is cut, until both are equally long. An
/// odd token goes to the longer one; if both are equally long, to the second.
///
/// Source: `TruncationStrategy::LongestFirst` in `truncate_encodings` of Hugging Face's `tokenizers`.
fn longest_first([a, b]: [usize; 2], room: usize) -> [usize; 2] {
    if a + b <= room {
        return [a, b];
    }
    let (shorter, half) = (a.min(b), room / 2);
    // Only the longer one has to be cut if the shorter one leaves it at least as much room.
    let (short, long) = if shorter <= half { (shorter, room - shorter) } else { (half, room - half) };
    if a > b { [long, short] } else { [short, long] }
}

#[cfg(test)]
mod tests {
    use tokenizers::utils::truncation::{
        TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings,
    };

    use super::*;

    fn encoding(length: usize) -> tokenizers::Encoding {
        let mut encoding = tokenizers::Encoding::default();
        let one = tokenizers::Encoding::from_tokens(vec![tokenizers::Token::new(7, "t".into(), (0, 1))], 0);
        (0..length).for_each(|_| encoding.merge_with(one.clone(), false));
        encoding
    }

    #[test]
    fn pairs_are_cut_as_the_library_cuts_them() {
        for (a, b) in (0..14).flat_map(|a| (0..14).map(move |b| (a, b))) {
            for room in 1..24 {
                let params = TruncationParams {
                    direction: TruncationDirection::Right,
                    max_length: room,
                    strategy: TruncationStrategy::LongestFirst,
                    stride: 0,
                };
                let (first, second) = truncate_encodings(encoding(a), Some(encoding(b)), &params).unwrap();
                let theirs = [first.get_ids().len(), second.unwrap().get_ids().len()];
                assert_eq!(longest_first([a, b], room), theirs, "{a} and {b} in {room}");
            }
        }
    }
}
