//! Words that are typical of a label, and the most frequent ones.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::stop::is_stop;
use crate::text::words::{folded, words};

/// The words that the prior weighs as much as: large against rare words, small against the words of a label.
const PRIOR: f64 = 1000.0;
/// A word that occurs less often is not typical of anything.
const RAREST: u64 = 5;
/// From this z score on, a word of the cloud has the colour of its label.
const CLEAR: f64 = 1.96;
/// Words of the cloud.
const CLOUD: usize = 120;
/// Rows that a thread counts at a time.
const CHUNK: usize = 2048;

/// The words that are most typical of a label, the clearest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Typical {
    pub label: String,
    /// Words in its texts, each as often as it occurs.
    pub total: u64,
    pub words: Vec<TypicalWord>,
}

/// A word that a label has more often than the other labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypicalWord {
    pub word: String,
    pub count: u64,
    /// How often it occurs under the other labels.
    pub elsewhere: u64,
    /// Logarithm of the ratio of its odds here and elsewhere.
    pub log_odds: f64,
    /// That, in standard deviations.
    pub z: f64,
}

/// A frequent word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloudWord {
    pub word: String,
    pub count: u64,
    /// The label of which it is most typical, if it is clear.
    pub label: Option<usize>,
}

/// How often words occur under each label.
pub(super) struct Vocabulary {
    labels: usize,
    /// In alphabetical order.
    words: Vec<String>,
    /// By word, then by label.
    counts: Vec<u64>,
}

impl Vocabulary {
    /// Count the words of texts, in lower case.
    pub(super) fn count(texts: &[(&str, u32)], labels: usize) -> Self {
        let chunks: Vec<HashMap<String, Vec<u64>>> = texts
            .par_chunks(CHUNK)
            .map(|chunk| {
                let mut counts: HashMap<String, Vec<u64>> = HashMap::new();
                for (text, label) in chunk {
                    for word in words(text) {
                        let word = folded(word);
                        counts.entry(word).or_insert_with(|| vec![0; labels])[*label as usize] += 1;
                    }
                }
                counts
            })
            .collect();
        let mut all: HashMap<String, Vec<u64>> = HashMap::new();
        for (word, counts) in chunks.into_iter().flatten() {
            match all.get_mut(&word) {
                Some(sum) => sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
                None => {
                    all.insert(word, counts);
                }
            }
        }
        let mut all: Vec<(String, Vec<u64>)> = all.into_iter().collect();
        all.par_sort_unstable();
        let (words, counts): (Vec<String>, Vec<Vec<u64>>) = all.into_iter().unzip();
        Self { labels, words, counts: counts.into_iter().flatten().collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    fn of(&self, word: usize) -> &[u64] {
        &self.counts[word * self.labels..(word + 1) * self.labels]
    }

    fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; self.labels];
        self.counts.chunks(self.labels.max(1)).for_each(|counts| {
            totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        });
        totals
    }

    /// The `most` words with the highest z score of each label: log-odds ratio of a label against the others with an
    /// informative Dirichlet prior, which is the frequency of each word in all texts, worth 1,000 words.
    ///
    /// Source: Monroe, Colaresi and Quinn 2008, "Fightin' Words", equations 15, 16, 20 and 22.
    pub(super) fn typical(&self, names: &[String], most: usize) -> Vec<Typical> {
        let totals = self.totals();
        let all: u64 = totals.iter().sum();
        let of = |label: usize| {
            let mut found: Vec<TypicalWord> = (0..self.words.len())
                .filter_map(|word| {
                    let counts = self.of(word);
                    let sum: u64 = counts.iter().sum();
                    let (here, elsewhere) = (counts[label], sum - counts[label]);
                    if sum < RAREST || here == 0 {
                        return None;
                    }
                    let prior = PRIOR * sum as f64 / all as f64;
                    let (log_odds, z) = odds((here, totals[label]), (elsewhere, all - totals[label]), prior)
                        .filter(|(_, z)| *z > 0.0)?;
                    Some(TypicalWord { word: self.words[word].clone(), count: here, elsewhere, log_odds, z })
                })
                .collect();
            // The sort is stable, so equal words stay in alphabetical order.
            found.sort_by(|one, other| other.z.total_cmp(&one.z));
            found.truncate(most);
            Typical { label: names[label].clone(), total: totals[label], words: found }
        };
        (0..self.labels).into_par_iter().map(of).collect()
    }

    /// The most frequent words that are not function words, the most frequent first.
    pub(super) fn cloud(&self, ignore: &[String]) -> Vec<CloudWord> {
        let ignore: HashSet<String> = ignore.iter().map(|word| folded(word)).collect();
        let totals = self.totals();
        let all: u64 = totals.iter().sum();
        let mut order: Vec<(u64, usize)> =
            (0..self.words.len()).map(|word| (self.of(word).iter().sum(), word)).collect();
        order.sort_by_key(|(count, word)| (std::cmp::Reverse(*count), *word));
        let wanted = order.into_iter().filter(|(_, word)| {
            let word = &self.words[*word];
            !is_stop(word) && !ignore.contains(word)
        });
        let label = |word: usize, sum: u64| -> Option<usize> {
            let prior = PRIOR * sum as f64 / all as f64;
            let z = |label: usize| {
                let here = self.of(word)[label];
                odds((here, totals[label]), (sum - here, all - totals[label]), prior).map(|(_, z)| (z, label))
            };
            let best = (0..self.labels).filter_map(z).max_by(|one, other| one.0.total_cmp(&other.0));
            best.filter(|(z, _)| *z > CLEAR).map(|(_, label)| label)
        };
        let word = |(count, word): (u64, usize)| CloudWord {
            word: self.words[word].clone(),
            count,
            label: label(word, count),
        };
        wanted.take(CLOUD).map(word).collect()
    }
}

/// The log-odds ratio of a word and its z score, from its count and the count of all words on both sides, and its prior.
/// None if one side has no words.
fn odds(here: (u64, u64), elsewhere: (u64, u64), prior: f64) -> Option<(f64, f64)> {
    if here.1 == 0 || elsewhere.1 == 0 {
        return None;
    }
    let side = |(count, total): (u64, u64)| {
        let count = count as f64 + prior;
        (count, (count / (total as f64 + PRIOR - count)).ln())
    };
    let ((count, one), (others, other)) = (side(here), side(elsewhere));
    let log_odds = one - other;
    let z = log_odds / (1.0 / count + 1.0 / others).sqrt();
    z.is_finite().then_some((log_odds, z))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("l{label}")).collect()
    }

    #[test]
    fn log_odds_are_those_of_the_paper_computed_in_python() {
        #[derive(Deserialize)]
        struct Fixture {
            texts: Vec<(String, u32)>,
            words: Vec<(usize, String, u64, u64, f64, f64)>,
        }
        let fixture: Fixture = serde_json::from_str(include_str!("testdata/log_odds.json")).unwrap();
        let texts: Vec<(&str, u32)> = fixture.texts.iter().map(|(text, label)| (text.as_str(), *label)).collect();
        let typical = Vocabulary::count(&texts, 3).typical(&names(3), 5);
        let found: Vec<(usize, &TypicalWord)> = typical
            .iter()
            .enumerate()
            .flat_map(|(label, typical)| typical.words.iter().map(move |w| (label, w)))
            .collect();
        assert!(found.len() >= 10 && found.len() == fixture.words.len(), "{found:?}");
        for ((label, found), (of, word, count, elsewhere, log_odds, z)) in found.into_iter().zip(&fixture.words) {
            assert_eq!((label, &found.word, found.count, found.elsewhere), (*of, word, *count, *elsewhere));
            assert!((found.log_odds - log_odds).abs() < 1e-9 && (found.z - z).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn one_label_has_no_typical_words_and_texts_without_words_have_no_cloud() {
        let one = Vocabulary::count(&[("good good good good good bad", 0)], 1);
        assert!(one.typical(&names(1), 5)[0].words.is_empty());
        let cloud = one.cloud(&["BAD".to_owned()]);
        assert_eq!(cloud, [CloudWord { word: "good".to_owned(), count: 5, label: None }]);
        let none = Vocabulary::count(&[("😷", 0), ("", 1)], 2);
        assert_eq!((none.len(), none.cloud(&[]), none.typical(&names(2), 5)[1].words.len()), (0, vec![], 0));
    }
}
