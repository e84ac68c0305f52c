//! Files with one text, one label or one name of a label per line.

use std::path::Path;

use anyhow::{Result, bail};

use super::encoding;
use super::raw::{Cut, Decoder};
use super::sniff;
use super::table::{Part, Roles, Sink, Values};
use super::unpack;
use crate::text::data::declare::mistakes::NO_PAIRS;

/// The lines of a file, without their ends; not what follows the last line end.
pub(crate) fn of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = if !bytes.contains(&b'\n') && bytes.contains(&b'\r') { b'\r' } else { b'\n' };
    let whole = bytes.strip_suffix(&[end]).unwrap_or(bytes);
    let lines = (!bytes.is_empty()).then(|| whole.split(move |byte| *byte == end));
    lines.into_iter().flatten().map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// One text per line. A blank line is an empty text: the line after it keeps its label.
pub(crate) fn texts(part: &Part, bytes: &[u8], sink: &mut Sink) -> Result<()> {
    if part.source.text_pair.is_some() {
        bail!("{}: {NO_PAIRS}", part.name);
    }
    let roles = Roles { text: (), pair: None, label: None, id: None, date: None, split: None, others: Vec::new() };
    if let Some(labels) = part.labels {
        let rows = of(bytes).count();
        if rows != labels.len() {
            bail!("{} has {rows} lines, but the file of labels has {}", part.name, labels.len());
        }
    }
    for (at, line) in of(bytes).enumerate() {
        let (text, cut) = part.decoder.decode(line);
        if at == 0 && sniff::is_header(&text, None) {
            let text = text.trim();
            sink.warnings.push(format!("{}:1 looks like a header (`{text}`), but every line is a text", part.name));
        }
        sink.take(part, &roles, at as u64 + 1, Values { text: Some(text), cut, ..Values::default() });
    }
    Ok(())
}

/// A text that is the whole file.
pub(crate) fn whole(part: &Part, bytes: &[u8], sink: &mut Sink) {
    let roles = Roles { text: (), pair: None, label: None, id: None, date: None, split: None, others: Vec::new() };
    let (text, cut) = part.decoder.decode(bytes);
    sink.take(part, &roles, 1, Values { text: Some(text), cut, ..Values::default() });
}

/// The labels of a file with one per line.
pub(crate) fn labels(path: &Path) -> Result<Vec<String>> {
    let mut labels: Vec<String> = decoded(path)?.lines().map(|line| line.trim().to_owned()).collect();
    while labels.last().is_some_and(String::is_empty) {
        labels.pop();
    }
    Ok(labels)
}

/// The names of labels by number, from lines such as `0<TAB>negative`. Numbers must be those from 0 on.
pub(crate) fn mapping(path: &Path) -> Result<Vec<String>> {
    let text = decoded(path)?;
    let name = unpack::shown(path);
    let mut names: Vec<(usize, String)> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let (number, label) = line
            .trim()
            .split_once(|letter: char| letter.is_whitespace() || ",:=".contains(letter))
            .unwrap_or((line, ""));
        let label = label.trim().trim_start_matches([',', ':', '=']).trim().trim_matches('"');
        match number.trim().trim_matches('"').parse::<usize>() {
            Ok(number) if !label.is_empty() => names.push((number, label.to_owned())),
            _ => bail!(
                "{name}:{} does not name a label; expected a number, a tab and a name, such as `0\tnegative`",
                at + 1
            ),
        }
    }
    names.sort();
    if let Some(at) = (0..names.len()).find(|at| names[*at].0 != *at) {
        bail!("{name} must name the labels 0 to {} once each; it names {}", names.len() - 1, names[at].0);
    }
    if names.is_empty() {
        bail!("{name} names no labels");
    }
    Ok(names.into_iter().map(|(_, label)| label).collect())
}

/// The content of a small file as text.
fn decoded(path: &Path) -> Result<String> {
    let loaded = unpack::load(path, None)?;
    let (bytes, encoding) = encoding::decode(&loaded.bytes)?;
    Ok(Decoder { encoding, cut: Cut::Mark }.decode(&bytes).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_other_tools_do() {
        let lines =
            |text: &str| of(text.as_bytes()).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect::<Vec<_>>();
        assert_eq!(lines("a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("a\nb\n"), ["a", "b"]);
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n"), [""]);
    }

    #[test]
    fn a_mapping_names_every_number_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mapping.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            mapping(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read("1\tneutral\n0\tnegative\n2\tvery good\n\n").unwrap(), ["negative", "neutral", "very good"]);
        assert_eq!(read("0: no\n1: yes\n").unwrap(), ["no", "yes"]);
        assert_eq!(read("1\tb\n2\tc\n").unwrap_err(), "mapping.txt must name the labels 0 to 1 once each; it names 1");
        assert_eq!(
            read("negative\n").unwrap_err(),
            "mapping.txt:1 does not name a label; expected a number, a tab and a name, such as `0\tnegative`"
        );
    }
}
