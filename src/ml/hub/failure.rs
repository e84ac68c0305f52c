//! What can go wrong between here and a file of the Hub, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::reference::Reference;
use super::settings::Settings;
use crate::watch::Interrupted;

/// Why a repository could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{host} cannot be reached: {why}")]
    Unreachable { host: String, why: String },
    #[error("{host} broke off: {why}")]
    Broken { host: String, why: String },
    /// `code` is what the Hub sends as `x-error-code`.
    #[error("{host} answers {what} with status {status}")]
    Refused { host: String, what: String, status: u16, code: Option<String> },
    #[error("{name} came twice with a content that does not have the {promised} that the hub promises")]
    Damaged { name: String, promised: String },
    #[error("cannot {verb} {}: {source}", path.display())]
    Disk { verb: &'static str, path: PathBuf, source: io::Error },
    /// The repository is there and is not what is wanted; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure {
    /// Whether the same request may well succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

/// Gives an error of the disk its place.
pub trait At<T> {
    /// `verb` fits after "cannot".
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| Failure::Disk { verb, path: path.into(), source })
    }
}

/// What was being fetched when a failure came.
pub struct Asked<'a> {
    pub reference: &'a Reference,
    pub settings: &'a Settings,
    /// The file that holds the branch at the commit that was asked for.
    pub pin: Option<PathBuf>,
    /// How to do without the Hub: fits after "or".
    pub by_hand: String,
}

impl Asked<'_> {
    /// What went wrong, and what to do.
    pub fn explain(&self, failure: &Failure) -> String {
        let Self { reference: Reference { repository, revision }, settings, pin, by_hand } = self;
        let page = format!("{}/{repository}", shown(&settings.endpoint));
        match failure {
            Failure::Refused { host, .. } if *host != shown(origin(&settings.endpoint)) => format!(
                "{failure}, where the hub keeps it; a firewall may block {host}: try another network, or {by_hand}"
            ),
            Failure::Refused { status, code, host, .. } => match (status, code.as_deref()) {
                (_, Some("GatedRepo")) => {
                    let whose = if settings.token.is_some() { "the account of your token" } else { "your account" };
                    let then = if settings.token.is_some() { "" } else { ", then set HF_TOKEN to its token" };
                    format!("{repository} is gated; accept its conditions at {page} with {whose}{then}")
                }
                (401 | 403, code) if settings.token.is_some() && code != Some("RepoNotFound") => format!(
                    "{host} refuses the token for {repository}; set HF_TOKEN to one that is valid and may read {page}"
                ),
                (401 | 403, _) | (404, Some("RepoNotFound")) if settings.token.is_some() => {
                    format!("there is no {repository}, or your token may not read it; see {page}")
                }
                (401 | 403, _) => format!(
                    "there is no {repository}, or it is private; correct the name, \
                     or set HF_TOKEN to a token that may read {page}"
                ),
                (404, Some("RepoNotFound")) => format!("there is no {repository}; see {page}"),
                (404, _) if pin.is_some() => format!(
                    "{repository} no longer has the commit that {revision} was held at; \
                     delete {} to take what {revision} is now",
                    pin.as_deref().unwrap_or(Path::new("")).display()
                ),
                (404, Some("RevisionNotFound")) => {
                    format!("{repository} has no revision {revision}; its branches and tags are at {page}/tree/main")
                }
                (404, _) => format!("there is no {repository} at revision {revision}, or a file of it; see {page}"),
                _ => format!("{failure}; try again later, or {by_hand}"),
            },
            Failure::Unreachable { .. } | Failure::Broken { .. } => {
                format!("{failure}; try again, which continues where this ended, or {by_hand}")
            }
            Failure::Damaged { .. } => {
                format!(
                    "{failure}; something between here and the hub may change files: try another network, or {by_hand}"
                )
            }
            Failure::Disk { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("{failure}; free some space, or set HF_HUB_CACHE to a folder with more, then run again")
                }
                _ => format!("{failure}; make it writable, or set HF_HUB_CACHE to a folder that is"),
            },
            Failure::Unfit(_) | Failure::Interrupted(_) => failure.to_string(),
        }
    }
}

/// `https://host:443` of an address.
pub fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    &url[..url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at)]
}

/// An address as messages give it: without a user and a password.
pub fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[authority.len()..])
        }
        None => url.to_owned(),
    }
}
