//! How texts were cleaned before training: it travels with corpus, tokens and model, so that texts are predicted as
//! others were learned.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::text::data::declare::spec::{Normalise, Spec, Treatment, is_no};

/// The parameters of `preprocess` that change texts, under their names in a pipeline file.
///
/// A field that a file lacks does nothing: it was written before the field existed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cleaning {
    pub urls: Treatment,
    pub mentions: Treatment,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    #[serde(skip_serializing_if = "is_no")]
    pub strip_html: bool,
    #[serde(skip_serializing_if = "is_no")]
    pub unescape_unicode: bool,
    #[serde(skip_serializing_if = "is_no")]
    pub unwrap_quotes: bool,
    pub unescape_html: bool,
    pub repair_encoding: bool,
    pub collapse_whitespace: bool,
    /// Whether each row is a pair of texts; both are cleaned alike.
    #[serde(skip_serializing_if = "is_no")]
    pub pairs: bool,
}

impl Spec {
    /// The part of the specification that changes texts.
    pub fn cleaning(&self) -> Cleaning {
        // Every field is named here: the compiler asks whether a new one belongs to the cleaning.
        let Spec {
            sources,
            labels: _,
            validation: _,
            urls,
            mentions,
            normalise,
            strip_html,
            unescape_unicode,
            unwrap_quotes,
            unescape_html,
            repair_encoding,
            collapse_whitespace,
            dedupe: _,
            leakage: _,
            near_duplicates: _,
            take: _,
            unusable: _,
        } = self;
        Cleaning {
            urls: urls.clone(),
            mentions: mentions.clone(),
            normalise: *normalise,
            strip_html: *strip_html,
            unescape_unicode: *unescape_unicode,
            unwrap_quotes: *unwrap_quotes,
            unescape_html: *unescape_html,
            repair_encoding: *repair_encoding,
            collapse_whitespace: *collapse_whitespace,
            pairs: sources.iter().any(|source| source.text_pair.is_some()),
        }
    }
}

impl Cleaning {
    /// The file of a corpus, tokens or a model that says how its texts were cleaned.
    pub const FILE: &str = "preprocessing.json";

    /// Read it from an artifact; None if the artifact has no such file.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(Self::FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let read = serde_json::from_slice(&text);
        read.map(Some).with_context(|| {
            format!("{} does not say how texts were cleaned, or a later version of pipe wrote it", path.display())
        })
    }

    /// Whether it changes texts.
    pub fn is_effective(&self) -> bool {
        *self != Cleaning { pairs: self.pairs, ..Cleaning::default() }
    }

    /// Write it into an artifact.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// What it does to texts, in words; empty if nothing.
    pub fn describe(&self) -> String {
        let treated = |what: &str, treatment: &Treatment| match treatment {
            Treatment::Keep => None,
            Treatment::Drop => Some(format!("{what} removed")),
            Treatment::Token(token) => Some(format!("{what} replaced with `{token}`")),
        };
        let done = |is_done: bool, what: &str| is_done.then(|| what.to_owned());
        let normalised =
            self.normalise.map(|Normalise::TwitterRoberta| "words rewritten as for twitter-roberta".into());
        let parts = [
            done(self.unwrap_quotes, "quotes around texts removed"),
            done(self.unescape_unicode, "`\\u` escapes replaced"),
            done(self.strip_html, "HTML tags removed"),
            done(self.repair_encoding, "encodings repaired"),
            done(self.unescape_html, "HTML references replaced"),
            treated("URLs", &self.urls),
            treated("mentions", &self.mentions),
            done(self.collapse_whitespace, "white space collapsed"),
            normalised,
        ];
        parts.into_iter().flatten().collect::<Vec<String>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::clean::text::clean;
    use crate::text::data::report::Changed;

    #[test]
    fn it_is_written_and_read_under_the_names_of_the_parameters() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Cleaning::open(dir.path()).unwrap(), None);
        let spec = Spec {
            urls: Treatment::Token("http".into()),
            normalise: Some(Normalise::TwitterRoberta),
            collapse_whitespace: false,
            ..Spec::new(Vec::new())
        };
        spec.cleaning().write(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join(Cleaning::FILE)).unwrap();
        let expected = serde_json::json!({
            "urls": { "token": "http" }, "mentions": "keep", "normalise": "twitter-roberta", "unescape-html": true,
            "repair-encoding": true, "collapse-whitespace": false
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
        assert_eq!(Cleaning::open(dir.path()).unwrap(), Some(spec.cleaning()));
        assert_eq!(
            spec.cleaning().describe(),
            "encodings repaired, HTML references replaced, URLs replaced with `http`, words rewritten as for \
             twitter-roberta"
        );

        std::fs::write(dir.path().join(Cleaning::FILE), "{\"urls\": \"drop\"}").unwrap();
        let little = Cleaning::open(dir.path()).unwrap().unwrap();
        assert_eq!(little, Cleaning { urls: Treatment::Drop, ..Cleaning::default() });
        assert_eq!(
            (little.describe().as_str(), little.apply("a http://b &amp;  c")),
            ("URLs removed", "a  &amp;  c".into())
        );
        assert_eq!((Cleaning::default().describe(), Cleaning::default().apply(" x\n")), (String::new(), " x\n".into()));
        std::fs::write(dir.path().join(Cleaning::FILE), "{\"stem\": true}").unwrap();
        let error = format!("{:#}", Cleaning::open(dir.path()).unwrap_err());
        assert!(error.contains("or a later version of pipe wrote it: unknown field `stem`"), "{error}");
    }

    #[test]
    fn a_text_is_cleaned_as_those_of_the_corpus_were() {
        let spec = Spec { mentions: Treatment::Token("@user".into()), ..Spec::new(Vec::new()) };
        let mut changed = Changed::default();
        for text in ["@Jo  said &amp; donâ€™t", "", "  \n ", "plain"] {
            assert_eq!(spec.cleaning().apply(text), clean(text, &spec.cleaning(), &mut changed));
        }
        assert_eq!(spec.cleaning().apply("@Jo  said &amp; donâ€™t"), "@user said & don’t");
    }
}
