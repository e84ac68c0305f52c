//! Names of sources and ids of rows, which are unique in a corpus.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::text::data::declare::spec::Source;

/// A short name for each source: its file name without endings, with as many of its folders as tell it from others.
pub(crate) fn of_sources(sources: &[Source]) -> Vec<String> {
    let forms: Vec<Vec<String>> = sources.iter().map(forms).collect();
    let deepest = forms.iter().map(Vec::len).max().unwrap_or(0);
    let at = |forms: &Vec<String>, level: usize| forms.get(level).or(forms.last()).cloned().unwrap_or_default();
    let mut names: Vec<String> = forms.iter().map(|forms| at(forms, 0)).collect();
    for level in 1..deepest {
        let mut count: HashMap<String, usize> = HashMap::new();
        names.iter().for_each(|name| *count.entry(name.clone()).or_default() += 1);
        for (name, forms) in names.iter_mut().zip(&forms) {
            if count[name] > 1 {
                *name = at(forms, level);
            }
        }
    }
    make_unique(names.iter_mut());
    names
}

/// The names that a source can have, from the shortest to the one that says most.
fn forms(source: &Source) -> Vec<String> {
    let shown = source.path.to_string_lossy();
    let path = match shown.strip_prefix("hf:") {
        Some(reference) => {
            let reference = reference.strip_prefix("datasets/").unwrap_or(reference);
            Path::new(reference.split('@').next().unwrap_or(reference)).to_owned()
        }
        None => source.path.clone(),
    };
    // Without what stands for several files: `data/train-*.csv` is `data/train`.
    let mut parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).filter(|part| *part != "/").collect();
    while parts.len() > 1 && parts.last().is_some_and(|part| fixed(part).is_empty()) {
        parts.pop();
    }
    let Some((file, folders)) = parts.split_last() else { return vec![shown.into_owned()] };
    let stem = stem(fixed(file));
    let mut forms = vec![stem.to_owned()];
    for from in (0..folders.len()).rev() {
        forms.push(format!("{}/{stem}", folders[from..].join("/")));
    }
    let whole = parts.join("/");
    forms.push(whole.clone());
    if let Some(config) = &source.config {
        forms.push(format!("{whole}/{config}"));
    }
    let last = forms.last().cloned().unwrap_or_default();
    forms.push(format!("{last}/{}", source.split.name()));
    forms
}

/// The beginning of a file's name that is no pattern.
fn fixed(part: &str) -> &str {
    let end = part.find(['*', '?', '[', '{']);
    end.map_or(part, |end| part[..end].trim_end_matches(['-', '_', '.']))
}

/// A file's name without the endings of packing and format.
fn stem(name: &str) -> &str {
    let name = [".gz", ".zst", ".zip"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

/// Give an id that occurred before a number: the second `17` becomes `17#2`. Returns what to say if there was one.
pub(crate) fn make_unique<'a>(ids: impl Iterator<Item = &'a mut String>) -> Option<String> {
    let mut ids: Vec<&mut String> = ids.collect();
    let mut seen: HashSet<String> = HashSet::with_capacity(ids.len());
    let repeats: Vec<usize> = (0..ids.len()).filter(|&at| !seen.insert(ids[at].clone())).collect();
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut first = None;
    for &at in &repeats {
        let id = ids[at].clone();
        let number = next.entry(id.clone()).or_insert(1);
        let unique = loop {
            *number += 1;
            let candidate = format!("{id}#{number}");
            if seen.insert(candidate.clone()) {
                break candidate;
            }
        };
        first.get_or_insert_with(|| format!("`{id}`; the second row with it is `{unique}`"));
        *ids[at] = unique;
    }
    let rows = if repeats.len() == 1 { "1 row repeats".to_owned() } else { format!("{} rows repeat", repeats.len()) };
    first.map(|first| format!("{rows} an id, the first {first}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::declare::spec::{Format, Purpose};

    fn names(paths: &[&str]) -> Vec<String> {
        of_sources(&paths.iter().map(|path| Source::at(*path)).collect::<Vec<_>>())
    }

    #[test]
    fn a_source_is_called_by_what_tells_it_from_others() {
        assert_eq!(names(&["data/train.csv", "data/test.csv.gz"]), ["train", "test"]);
        assert_eq!(names(&["a/train.csv", "b/train.csv"]), ["a/train", "b/train"]);
        assert_eq!(names(&["2020/data/train.csv", "2021/data/train.csv"]), ["2020/data/train", "2021/data/train"]);
        assert_eq!(names(&["tweets.csv", "tweets.jsonl"]), ["tweets.csv", "tweets.jsonl"]);
        assert_eq!(names(&["data/train-*.csv", "aclImdb/train/*/*.txt"]), ["data/train", "aclImdb/train"]);
        assert_eq!(names(&["/a/x.csv", "x.csv"]), ["a/x", "x.csv"]);
        assert_eq!(names(&["x.csv", "x.csv", "x.csv"]), ["x.csv/train", "x.csv/train#2", "x.csv/train#3"]);
        assert_eq!(names(&["hf:datasets/some/set@main", "set.csv"]), ["some/set", "set.csv"]);
        let split = |split| Source::new("hf:datasets/some/set", Format::Dataset, split);
        assert_eq!(of_sources(&[split(Purpose::Train), split(Purpose::Test)]), ["some/set/train", "some/set/test"]);
    }

    #[test]
    fn ids_that_repeat_get_a_number() {
        let mut ids = ["1", "2", "1", "1#2", "1", "2"].map(str::to_owned);
        let said = make_unique(ids.iter_mut()).unwrap();
        assert_eq!(ids, ["1", "2", "1#3", "1#2", "1#4", "2#2"]);
        assert_eq!(said, "3 rows repeat an id, the first `1`; the second row with it is `1#3`");
        assert_eq!(make_unique(["a".to_owned(), "b".to_owned()].iter_mut()), None);
    }
}
