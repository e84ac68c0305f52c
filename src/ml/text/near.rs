//! Near-duplicates: texts that share most of their word sequences, found by MinHash and then compared exactly.

use std::collections::HashMap;

use rayon::prelude::*;

use super::words::{straight, words};

/// Words per shingle. With three, a changed word costs three shingles, so only texts that share long passages are near.
const SHINGLE: usize = 3;
/// Hash functions of a signature. Fewer would miss more pairs, more would only cost time.
const HASHES: usize = 128;
/// The share of pairs just at the threshold that banding may miss.
const MISSED: f64 = 0.01;
/// In a bucket with more texts than this, each is compared with so many of the first ones only: thousands of texts from
/// one template still end up in one group, without millions of comparisons.
const BUCKET: usize = 128;

/// Which texts are the same or nearly the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Near {
    /// For each text, the first text that has the same words, regardless of case, signs and links; often itself.
    pub first: Vec<usize>,
    /// Pairs of different such first texts that are near, in ascending order.
    pub pairs: Vec<Pair>,
}

/// Two texts, `one < other`, with the Jaccard similarity of their shingles: shared ones by all of both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    pub one: usize,
    pub other: usize,
    pub similarity: f64,
}

/// Find the pairs of texts whose Jaccard similarity is at least `threshold` (above 0, at most 1).
///
/// Similarity is that of their sets of three consecutive words; a text with fewer words is one shingle. Texts without
/// words are near to none. MinHash with 128 hash functions, banded such that less than 1 % of the pairs at the threshold
/// are missed (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3); each candidate is then
/// compared exactly, so no pair below the threshold is returned. The same texts give the same pairs on every machine.
pub fn near_duplicates(texts: &[&str], threshold: f64) -> Near {
    let shingles: Vec<Vec<u64>> = texts.par_iter().map(|text| shingles(text)).collect();
    let mut seen: HashMap<&[u64], usize> = HashMap::with_capacity(texts.len());
    let first: Vec<usize> = shingles
        .iter()
        .enumerate()
        .map(|(at, set)| if set.is_empty() { at } else { *seen.entry(set).or_insert(at) })
        .collect();
    let distinct: Vec<usize> = (0..texts.len()).filter(|&at| first[at] == at && !shingles[at].is_empty()).collect();
    let functions = functions();
    let signatures: Vec<[u32; HASHES]> = distinct.par_iter().map(|&at| signature(&shingles[at], &functions)).collect();
    let mut candidates: Vec<(usize, usize)> =
        bands(threshold).into_par_iter().flat_map_iter(|band| in_one_bucket(&signatures, band)).collect();
    candidates.par_sort_unstable();
    candidates.dedup();
    let compare = |(one, other): (usize, usize)| {
        let (one, other) = (distinct[one], distinct[other]);
        let similarity = jaccard(&shingles[one], &shingles[other]);
        (similarity >= threshold).then_some(Pair { one, other, similarity })
    };
    let pairs = candidates.into_par_iter().filter_map(compare).collect();
    Near { first, pairs }
}

impl Near {
    /// For each text, the first text of its group: near texts, texts near to those, and so on.
    pub fn groups(&self) -> Vec<usize> {
        let mut above = self.first.clone();
        fn top(above: &mut [usize], mut at: usize) -> usize {
            while above[at] != at {
                above[at] = above[above[at]];
                at = above[at];
            }
            at
        }
        for pair in &self.pairs {
            let (one, other) = (top(&mut above, pair.one), top(&mut above, pair.other));
            above[one.max(other)] = one.min(other);
        }
        (0..above.len()).map(|at| top(&mut above, at)).collect()
    }
}

/// The hashes of the word sequences of a text, sorted, each once.
fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<u64> = words(text).map(hash).collect();
    let mut found: Vec<u64> = if words.len() < SHINGLE {
        words.chunks(SHINGLE).map(joined).collect()
    } else {
        words.windows(SHINGLE).map(joined).collect()
    };
    found.sort_unstable();
    found.dedup();
    found
}

fn joined(words: &[u64]) -> u64 {
    words.iter().fold(words.len() as u64, |all, word| mixed(all.rotate_left(23) ^ word))
}

/// A word's hash, regardless of case and of the sign before it.
fn hash(word: &str) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |letter: char| state = (state ^ u64::from(letter)).wrapping_mul(0x0100_0000_01b3);
    for letter in word.trim_start_matches(['#', '@']).chars() {
        match letter.is_ascii() {
            true => take(letter.to_ascii_lowercase()),
            false => letter.to_lowercase().map(straight).for_each(&mut take),
        }
    }
    mixed(state)
}

/// Every bit of the result depends on every bit of the value (the end of SplitMix64).
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Factor and summand of each hash function: the high half of `factor · x + summand` is a strongly universal hash of 32
/// bits (Dietzfelbinger 1996).
fn functions() -> [(u64, u64); HASHES] {
    let number = |at: usize| mixed((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    std::array::from_fn(|at| (number(2 * at), number(2 * at + 1)))
}

/// The least value of each hash function over the shingles.
fn signature(shingles: &[u64], functions: &[(u64, u64); HASHES]) -> [u32; HASHES] {
    let mut least = [u32::MAX; HASHES];
    for shingle in shingles {
        let short = shingle >> 32;
        for (least, (factor, summand)) in least.iter_mut().zip(functions) {
            *least = (*least).min((factor.wrapping_mul(short).wrapping_add(*summand) >> 32) as u32);
        }
    }
    least
}

/// The bands of a signature. A pair of similarity s has equal values in at least one of `HASHES / width` bands with
/// probability 1 − (1 − s^width)^bands; the widest band that misses few enough gives the fewest candidates.
fn bands(threshold: f64) -> Vec<std::ops::Range<usize>> {
    let missed = |width: usize| (1.0 - threshold.powi(width as i32)).powi((HASHES / width) as i32);
    let width = (1..=32).rev().find(|&width| missed(width) < MISSED).unwrap_or(1);
    (0..HASHES / width).map(|band| band * width..(band + 1) * width).collect()
}

/// The pairs of signatures that are equal within a band.
fn in_one_bucket(signatures: &[[u32; HASHES]], band: std::ops::Range<usize>) -> Vec<(usize, usize)> {
    let key = |values: &[u32]| values.iter().fold(0, |all, value| mixed(all ^ u64::from(*value)));
    let mut keys: Vec<(u64, usize)> =
        signatures.iter().enumerate().map(|(at, values)| (key(&values[band.clone()]), at)).collect();
    keys.sort_unstable();
    let mut pairs = Vec::new();
    for bucket in keys.chunk_by(|one, other| one.0 == other.0).filter(|bucket| bucket.len() > 1) {
        for (at, (_, one)) in bucket.iter().enumerate().take(BUCKET) {
            pairs.extend(bucket[at + 1..].iter().map(|(_, other)| (*one, *other)));
        }
    }
    pairs
}

/// Shared elements by all elements of two sorted sets.
fn jaccard(one: &[u64], other: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < one.len() && j < other.len() {
        let (a, b) = (one[i], other[j]);
        shared += usize::from(a == b);
        i += usize::from(a <= b);
        j += usize::from(b <= a);
    }
    shared as f64 / (one.len() + other.len() - shared) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_signs_and_links_make_no_difference_and_one_word_makes_little() {
        let long = "Please do not panic buy food today, there is enough for every one of us in all of the stores";
        let changed = long.replace("today", "now");
        let loud = format!("{} https://t.co/abc", long.to_uppercase());
        let near = near_duplicates(&[long, &loud, &changed, "something else entirely", "", "😷", ""], 0.6);
        assert_eq!(near.first, [0, 0, 2, 3, 4, 5, 6]);
        assert_eq!(near.groups(), [0, 0, 0, 3, 4, 5, 6]);
        // 20 words are 18 shingles, and the changed word is in three of them: 15 are shared, of 21.
        assert_eq!(near.pairs, [Pair { one: 0, other: 2, similarity: 15.0 / 21.0 }]);
    }

    /// Words from a small vocabulary, as many texts as asked, a third of them altered copies of earlier ones.
    fn made(count: usize) -> Vec<String> {
        let mut state = 1_u64;
        let mut random = move |below: usize| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            (mixed(state) % below as u64) as usize
        };
        let mut texts: Vec<Vec<String>> = Vec::new();
        for at in 0..count {
            let mut words: Vec<String> = (0..8 + random(60)).map(|_| format!("w{}", random(2000))).collect();
            if at > 10 && random(3) == 0 {
                words = texts[random(at)].clone();
                for _ in 0..random(4) {
                    let place = random(words.len());
                    words[place] = format!("w{}", random(2000));
                }
            }
            texts.push(words);
        }
        texts.into_iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn nearly_all_pairs_that_brute_force_finds_are_found_and_no_others() {
        let texts = made(3000);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let sets: Vec<Vec<u64>> = texts.iter().map(|text| shingles(text)).collect();
        for threshold in [0.5, 0.6, 0.8] {
            let near = near_duplicates(&texts, threshold);
            let mut all = 0;
            let mut found = near.pairs.iter().peekable();
            for one in (0..texts.len()).filter(|&at| near.first[at] == at) {
                for other in (one + 1..texts.len()).filter(|&at| near.first[at] == at) {
                    let similarity = jaccard(&sets[one], &sets[other]);
                    if similarity >= threshold {
                        all += 1;
                        let pair = Pair { one, other, similarity };
                        found.next_if(|next| **next == pair);
                    } else {
                        assert_ne!(found.peek().map(|pair| (pair.one, pair.other)), Some((one, other)));
                    }
                }
            }
            assert!(found.next().is_none(), "a pair that brute force does not find");
            assert!(all > 50 && near.pairs.len() as f64 >= 0.99 * f64::from(all), "{} of {all}", near.pairs.len());
        }
    }

    #[test]
    fn thousands_of_texts_from_one_template_are_one_group() {
        let texts: Vec<String> = (0..3000)
            .map(|at| format!("there are now {at} cases in our town and we ask all to stay at home please"))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let near = near_duplicates(&texts, 0.6);
        assert!(near.groups().iter().all(|group| *group == 0));
        assert!(near.pairs.len() < 3000 * 2999 / 2 / 3, "{}", near.pairs.len());
    }
}
