//! Parses `hf:OWNER/NAME[@REVISION]` and `hf:datasets/OWNER/NAME[@REVISION]`, the names of models and data sets on the Hub.

use anyhow::{Result, ensure};

pub(super) const SCHEME: &str = "hf:";
/// Begins the name of a data set.
const DATASETS: &str = "datasets/";

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `OWNER/NAME`, or only `NAME` for models that predate owners.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    pub is_dataset: bool,
    /// The configuration of a data set: what follows `#`.
    pub config: Option<String>,
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let (name, config) = match name.strip_prefix(DATASETS).and_then(|name| name.split_once('#')) {
            Some((name, config)) => (format!("{DATASETS}{name}"), Some(config.to_owned())),
            None => (name.to_owned(), None),
        };
        let (is_dataset, name) = match name.strip_prefix(DATASETS) {
            Some(name) => (true, name),
            None => (false, name.as_str()),
        };
        let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = repository.split('/').collect();
        let is_valid = parts.len() <= 2 && parts.iter().all(|part| is_plain(part)) && revision.split('/').all(is_plain);
        let (what, kind) = if is_dataset { ("datasets/", "data set") } else { ("", "model") };
        ensure!(is_valid, "`{text}` is not a {kind} name; write hf:{what}OWNER/NAME or hf:{what}OWNER/NAME@REVISION");
        Ok(Self { repository: repository.into(), revision: revision.into(), is_dataset, config })
    }

    /// The kind of repository as the Hub has it in its addresses.
    fn kind(&self) -> &'static str {
        if self.is_dataset { "datasets" } else { "models" }
    }

    /// The repository's page below the Hub's endpoint.
    pub(super) fn page(&self) -> String {
        format!("{}{}", if self.is_dataset { DATASETS } else { "" }, self.repository)
    }

    /// The name of the repository's folder in the Hugging Face cache, as Python's huggingface_hub has it.
    pub(super) fn folder(&self) -> String {
        format!("{}--{}", self.kind(), self.repository.replace('/', "--"))
    }

    /// Where the Hub lists the files of a revision, below `/api/`.
    pub(super) fn listing(&self, revision: &str) -> String {
        format!("{}/{}/revision/{}", self.kind(), self.repository, revision.replace('/', "%2F"))
    }

    /// Where the Hub serves a file of a revision, below its endpoint.
    pub(super) fn file(&self, revision: &str, name: &str) -> String {
        format!("{}/resolve/{}/{}", self.page(), revision.replace('/', "%2F"), encoded(name))
    }
}

/// Whether a part of a name is safe as a single file name: a name sent by a server must not lead to another folder.
pub(super) fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Whether a file's name, sent by a server, leads to a place below its folder; data sets have files in folders.
pub(super) fn is_inside(name: &str) -> bool {
    let is_sound = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(|letter: char| letter.is_control() || letter == '\\')
    };
    name.split('/').all(is_sound)
}

/// A file's name as a part of an address.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Whether a revision is a full commit hash, which always refers to the same content.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_main_unless_it_is_named() {
        let wanted = |text| Reference::parse(text).map(|r| (r.repository, r.revision)).unwrap();
        assert_eq!(wanted("hf:some/model@refs/pr/1"), ("some/model".into(), "refs/pr/1".into()));
        assert_eq!(wanted("hf:distilroberta-base"), ("distilroberta-base".into(), "main".into()));
    }

    #[test]
    fn folders_and_addresses_are_those_of_the_hub() {
        let reference = Reference::parse("hf:some/model@refs/pr/1").unwrap();
        assert_eq!(reference.folder(), "models--some--model");
        assert_eq!(reference.listing(&reference.revision), "models/some/model/revision/refs%2Fpr%2F1");
        assert_eq!(reference.file("c0ffee", "config.json"), "some/model/resolve/c0ffee/config.json");
    }

    #[test]
    fn data_sets_have_a_kind_and_may_have_a_configuration() {
        let reference = Reference::parse("hf:datasets/some/set@v1#sentiment").unwrap();
        assert!(reference.is_dataset && reference.config.as_deref() == Some("sentiment"));
        assert_eq!(reference.folder(), "datasets--some--set");
        assert_eq!(reference.listing("main"), "datasets/some/set/revision/main");
        assert_eq!(reference.file("c0ffee", "data/a b.csv"), "datasets/some/set/resolve/c0ffee/data/a%20b.csv");
        assert!(is_inside("data/train-0.parquet") && !is_inside("data/../x") && !is_inside("/x") && !is_inside("a/.x"));
        let text = Reference::parse("hf:datasets/a/b/c").unwrap_err().to_string();
        assert_eq!(
            text,
            "`hf:datasets/a/b/c` is not a data set name; write hf:datasets/OWNER/NAME or hf:datasets/OWNER/NAME@REVISION"
        );
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["hf:", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b@../x", "hf:a b/c", "hf:/b", "hf:a/b@x//y"] {
            let text = Reference::parse(bad).unwrap_err().to_string();
            assert_eq!(text, format!("`{bad}` is not a model name; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION"));
        }
    }

    #[test]
    fn commits_are_told_from_branches() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("main") && !is_commit("0123456") && !is_commit(&"g".repeat(40)));
    }
}
