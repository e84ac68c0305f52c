//! The two sides of a comparison, read under the chosen profile and under every other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::kind::{External, Kind};
use crate::contract::origin::Origin;
use crate::declare::layers::Definition;
use crate::declare::resolve::{Pipeline, resolve};
use crate::judge::external::reads;
use crate::text::diagnostic::{Diagnostics, Source};

/// How to read both sides.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    pub profile: Option<&'a str>,
    pub sets: &'a [String],
    pub kinds: &'a [Kind],
    pub origins: &'a [Origin],
}

/// One side; `pipeline` is None if the file does not exist there.
pub struct Side {
    /// The name shown to the user: `HEAD:pipelines/x.toml`, `pipelines/x.toml`.
    pub place: String,
    pub pipeline: Option<Pipeline>,
    /// The pipeline under each profile that was not chosen.
    pub(super) others: BTreeMap<String, Pipeline>,
    pub(super) profiles: Vec<String>,
}

pub struct Pair {
    pub base: Side,
    pub head: Side,
}

/// The place of a side and its text, if the file exists.
pub type Text = (String, Option<Arc<Source>>);

impl Pair {
    /// Read both sides and report the problems of both. A side that lacks the chosen profile is read without it if the
    /// other side has the profile.
    pub fn read(base: Text, head: Text, reading: Reading<'_>) -> Result<Self, Diagnostics> {
        let names = [&base, &head].map(|(_, source)| profiles(source.as_ref(), reading.kinds));
        let is_anywhere = |name: &str| names.iter().flatten().any(|n| n == name);
        let mut problems = Vec::new();
        let mut read = |(place, source): Text, mine: &[String]| {
            let chosen = reading.profile.filter(|p| !is_anywhere(p) || mine.iter().any(|n| n == p));
            let mut side = Side { place, pipeline: None, others: BTreeMap::new(), profiles: mine.to_vec() };
            let Some(source) = source else { return side };
            match resolve(&source, chosen, reading.sets, reading.kinds) {
                Ok(pipeline) => side.pipeline = Some(pipeline),
                Err(found) => problems.extend(found.0),
            }
            for name in mine.iter().filter(|n| Some(n.as_str()) != reading.profile) {
                // `resolve` has checked every profile; a failure here comes from an override that was meant for another
                // profile.
                if let Ok(pipeline) = resolve(&source, Some(name), reading.sets, reading.kinds) {
                    side.others.insert(name.clone(), pipeline);
                }
            }
            side
        };
        let pair = Self { base: read(base, &names[0]), head: read(head, &names[1]) };
        if problems.is_empty() { Ok(pair) } else { Err(Diagnostics(problems)) }
    }

    /// The local files and folders that a stage of either side reads, under any profile.
    pub fn inputs(&self, origins: &[Origin]) -> Inputs {
        Inputs::of(
            [&self.base, &self.head].into_iter().flat_map(|s| s.pipeline.iter().chain(s.others.values())),
            origins,
        )
    }
}

/// Local files and folders that stages read.
pub struct Inputs(Vec<External>);

impl Inputs {
    pub fn of<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>, origins: &[Origin]) -> Self {
        let mut externals: Vec<External> = Vec::new();
        for external in pipelines.into_iter().flat_map(|p| &p.instances).flat_map(|i| i.externals()) {
            if !origins.iter().any(|r| external.path.starts_with(r.prefix)) && !externals.contains(&external) {
                externals.push(external);
            }
        }
        Self(externals)
    }

    /// Whether a path from the project root is one of these files.
    pub fn include(&self, path: &str) -> bool {
        self.0.iter().any(|e| reads(e, path))
    }
}

/// The profiles of a text; none if it cannot be parsed (resolving it reports the error).
fn profiles(source: Option<&Arc<Source>>, kinds: &[Kind]) -> Vec<String> {
    let definition = source.and_then(|s| Definition::parse(s, kinds, &mut Vec::new()));
    definition.map_or(Vec::new(), |d| d.profiles.into_iter().map(|p| p.key).collect())
}
