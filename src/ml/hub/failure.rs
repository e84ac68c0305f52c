//! Errors of downloads from the Hub, and the advice that goes with each.

use std::io;
use std::path::{Path, PathBuf};

use super::reference::Reference;
use super::settings::Settings;
use crate::watch::Interrupted;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot reach {host}: {why}")]
    Unreachable { host: String, why: String },
    #[error("the transfer from {host} failed: {why}")]
    Broken { host: String, why: String },
    /// `code` is the value of the Hub's `x-error-code` header.
    #[error("{host} answered {what} with status {status}")]
    Refused { host: String, what: String, status: u16, code: Option<String> },
    #[error("{name} was downloaded twice and did not match the {promised} announced by the Hub")]
    Damaged { name: String, promised: String },
    #[error("cannot {verb} {}: {source}", path.display())]
    Disk { verb: &'static str, path: PathBuf, source: io::Error },
    /// The repository exists but does not hold the needed files; the text says what to do.
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Failure {
    /// Whether the same request may succeed a little later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            _ => false,
        }
    }
}

/// Adds the action and the path to an I/O error.
pub(super) trait At<T> {
    /// `verb` fits after "cannot".
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| Failure::Disk { verb, path: path.into(), source })
    }
}

/// What was being downloaded when a failure occurred.
pub(super) struct Asked<'a> {
    pub reference: &'a Reference,
    pub settings: &'a Settings,
    /// The file below `refs/` that names the requested commit, if the cache has one.
    pub pin: Option<PathBuf>,
    /// How to install the files without the Hub; fits after "or".
    pub by_hand: String,
}

impl Asked<'_> {
    /// Says what went wrong and what to do.
    pub(super) fn explain(&self, failure: &Failure) -> String {
        let Self { reference, settings, pin, by_hand } = self;
        let Reference { repository, revision, .. } = reference;
        let page = format!("{}/{}", shown(&settings.endpoint), reference.page());
        match failure {
            Failure::Refused { host, .. } if *host != shown(origin(&settings.endpoint)) => format!(
                "{failure} (the Hub stores the file on this host); a firewall may block {host}: try another network, or {by_hand}"
            ),
            Failure::Refused { status, code, host, .. } => match (status, code.as_deref()) {
                (_, Some("GatedRepo")) => {
                    let whose = if settings.token.is_some() { "the account of your token" } else { "your account" };
                    let then =
                        if settings.token.is_some() { "" } else { ", then set HF_TOKEN to a token of that account" };
                    format!("{repository} is gated; accept its conditions at {page} with {whose}{then}")
                }
                (401 | 403, code) if settings.token.is_some() && code != Some("RepoNotFound") => format!(
                    "{host} rejected the token for {repository}; set HF_TOKEN to a valid token that can read {page}"
                ),
                (401 | 403, _) | (404, Some("RepoNotFound")) if settings.token.is_some() => {
                    format!("{repository} does not exist, or your token cannot read it; see {page}")
                }
                (401 | 403, _) => format!(
                    "{repository} does not exist or is private; correct the name, \
                     or set HF_TOKEN to a token that can read {page}"
                ),
                (404, Some("RepoNotFound")) => format!("{repository} does not exist; see {page}"),
                (404, _) if pin.is_some() => format!(
                    "{repository} no longer has the commit that the cache records for {revision}; \
                     delete {} to use the current {revision}",
                    pin.as_deref().unwrap_or(Path::new("")).display()
                ),
                (404, Some("RevisionNotFound")) => {
                    format!("{repository} has no revision {revision}; its branches and tags are at {page}/tree/main")
                }
                (404, _) => {
                    format!("{repository} at revision {revision}, or one of its files, does not exist; see {page}")
                }
                _ => format!("{failure}; try again later, or {by_hand}"),
            },
            Failure::Unreachable { .. } | Failure::Broken { .. } => {
                format!("{failure}; run again to resume the download, or {by_hand}")
            }
            Failure::Damaged { .. } => {
                format!(
                    "{failure}; something between this machine and the Hub may alter files: try another network, or {by_hand}"
                )
            }
            Failure::Disk { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("{failure}; free some space, or set HF_HUB_CACHE to a folder with more, then run again")
                }
                _ => format!("{failure}; make it writable, or set HF_HUB_CACHE to a writable folder"),
            },
            Failure::Unfit(_) | Failure::Interrupted(_) => failure.to_string(),
        }
    }
}

/// Scheme, host and port of a URL, for example `https://host:443`.
pub(super) fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    &url[..url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at)]
}

/// A URL for messages: without user and password.
pub(super) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[authority.len()..])
        }
        None => url.to_owned(),
    }
}
