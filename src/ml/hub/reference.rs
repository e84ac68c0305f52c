//! Parses `hf:OWNER/NAME[@REVISION]`, the name of a model on the Hub.

use anyhow::{Result, ensure};

pub(super) const SCHEME: &str = "hf:";

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `OWNER/NAME`, or only `NAME` for models that predate owners.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

impl Reference {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = repository.split('/').collect();
        ensure!(
            parts.len() <= 2 && parts.iter().all(|part| is_plain(part)) && revision.split('/').all(is_plain),
            "`{text}` is not a model name; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
        );
        Ok(Self { repository: repository.into(), revision: revision.into() })
    }

    /// The name of the repository's folder in the Hugging Face cache, as Python's huggingface_hub has it.
    pub(super) fn folder(&self) -> String {
        format!("models--{}", self.repository.replace('/', "--"))
    }

    /// Where the Hub lists the files of a revision, below `/api/`.
    pub(super) fn listing(&self, revision: &str) -> String {
        format!("models/{}/revision/{}", self.repository, revision.replace('/', "%2F"))
    }

    /// Where the Hub serves a file of a revision, below its endpoint.
    pub(super) fn file(&self, revision: &str, name: &str) -> String {
        format!("{}/resolve/{}/{name}", self.repository, revision.replace('/', "%2F"))
    }
}

/// Whether a part of a name is safe as a single file name: a name sent by a server must not lead to another folder.
pub(super) fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
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
