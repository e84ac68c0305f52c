//! Sends requests to the Hub: follows redirects, keeps the token to one host, applies timeouts and retries.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::Response;
use ureq::{Agent, Body};

use serde::Deserialize;

use super::failure::{Failure, origin, shown};
use super::settings::Settings;
use crate::watch::{Interrupted, Watch};

/// What the Hub says of a repository: its commit and its files.
#[derive(Debug, Deserialize)]
pub(super) struct RepoInfo {
    pub(super) sha: String,
    pub(super) siblings: Vec<Sibling>,
}

/// A file of a repository.
#[derive(Debug, Deserialize)]
pub(super) struct Sibling {
    pub(super) rfilename: String,
}

/// How many times a request is sent before its failure is reported.
pub(super) const TRIES: u32 = 4;
/// The Hub uses two: one for a renamed repository, one to the host that stores large files.
const REDIRECTS: usize = 8;
/// A list of files is a few kilobytes; reject anything larger than this.
const LARGEST_ANSWER: u64 = 64 << 20;
const NO_DATA: &str = "no data before the timeout (HF_HUB_DOWNLOAD_TIMEOUT)";

/// An HTTP client for one Hub.
pub(super) struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
}

/// What the Hub reports about a file before its download.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Identifies the content; usually a hash of it.
    pub etag: String,
    pub size: Option<u64>,
}

/// The body of a file, or of its tail.
pub(super) struct Content {
    /// The offset of the first byte in the file: 0 if the server ignored the range.
    pub start: u64,
    pub body: Box<dyn Read>,
    pub host: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
}

impl<'a> Client<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        // `send` follows redirects itself, because it must not pass the token on to another host.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            // With compression, sizes and ranges would refer to the compressed bytes.
            .accept_encoding("identity")
            .timeout_resolve(Some(settings.patience))
            .timeout_connect(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .timeout_per_write(Some(settings.patience))
            .build();
        Self { agent: agent.into(), settings }
    }

    /// The commit and the files of a repository; `path` is below `/api/`.
    pub(super) fn info(&self, path: &str) -> Result<RepoInfo, Failure> {
        let url = format!("{}/api/{path}", self.settings.endpoint);
        let response = self.send(Method::Get, &url, 0)?;
        let broken = |why: String| Failure::Broken { host: shown(origin(&url)), why };
        let mut body = response.into_body();
        let text = body.with_config().limit(LARGEST_ANSWER).read_to_string().map_err(|e| broken(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| broken(format!("the answer is not a list of files: {e}")))
    }

    /// The etag and size of a file; `path` is below the endpoint.
    pub(super) fn head(&self, path: &str) -> Result<Head, Failure> {
        let url = format!("{}/{path}", self.settings.endpoint);
        let response = self.send(Method::Head, &url, 0)?;
        let header = |name| text(&response, name);
        // For a file stored on another host, the Hub sends the etag and size in headers of its own.
        let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
        let size = header("x-linked-size").or_else(|| header("content-length"));
        Ok(Head {
            etag: etag.trim_start_matches("W/").trim_matches('"').to_owned(),
            size: size.and_then(|size| size.parse().ok()),
        })
    }

    /// The content of a file from byte `from` on, or from its start if the server does not support ranges.
    pub(super) fn get(&self, path: &str, from: u64) -> Result<Content, Failure> {
        let url = format!("{}/{path}", self.settings.endpoint);
        let response = self.send(Method::Get, &url, from)?;
        // `bytes 100-199/200`
        let range = text(&response, "content-range").filter(|_| response.status() == 206);
        let start = range.and_then(|range| range.trim_start_matches("bytes ").split_once('-')?.0.parse().ok());
        let host = shown(origin(&url));
        Ok(Content { start: start.unwrap_or(0), body: Box::new(response.into_body().into_reader()), host })
    }

    fn send(&self, method: Method, asked: &str, from: u64) -> Result<Response<Body>, Failure> {
        let mut url = asked.to_owned();
        for _ in 0..=REDIRECTS {
            let host = || shown(origin(&url));
            let mut request = match method {
                Method::Get => self.agent.get(&url),
                Method::Head => self.agent.head(&url),
            };
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            // Other hosts, such as the one that stores large files, must not see the token.
            if let Some(token) = self.settings.token.as_ref().filter(|_| is_same(&url, &self.settings.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| failure(error, host()))?;
            let status = response.status().as_u16();
            let is_described = method == Method::Head && response.headers().contains_key("x-linked-etag");
            match text(&response, "location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) {
                Some(_) if is_described => return Ok(response),
                Some(location) => url = joined(&url, &location),
                None if matches!(status, 200 | 206) => return Ok(response),
                None => {
                    let what = url.split('?').next().unwrap_or_default()[origin(&url).len()..].to_owned();
                    let code = text(&response, "x-error-code");
                    return Err(Failure::Refused { host: host(), what, status, code });
                }
            }
        }
        Err(Failure::Broken { host: shown(origin(asked)), why: format!("more than {REDIRECTS} redirects") })
    }

    /// Sends a request up to [`TRIES`] times, with a pause after each temporary failure.
    pub(super) fn with_retries<T>(
        &self,
        watch: &dyn Watch,
        mut ask: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        for failed in 0..TRIES - 1 {
            match ask() {
                Err(failure) if failure.is_temporary() => self.pause(failed, watch)?,
                answer => return answer,
            }
        }
        ask()
    }

    /// Waits before a retry; the wait doubles with each of the `failed` attempts.
    pub(super) fn pause(&self, failed: u32, watch: &dyn Watch) -> Result<(), Failure> {
        let end = Instant::now() + self.settings.pause * 2u32.pow(failed.min(5));
        loop {
            if watch.stopped() {
                return Err(Interrupted.into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

/// Converts an error that occurred before the server answered.
fn failure(error: ureq::Error, host: String) -> Failure {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(e) if matches!(e.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted) => {
            Failure::Broken { host, why: e.to_string() }
        }
        ureq::Error::Io(e) => Failure::Unreachable { host, why: e.to_string() },
        ureq::Error::HostNotFound => Failure::Unreachable { host, why: "host not found, or no network".into() },
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            Failure::Unreachable { host, why: "the connection timed out".into() }
        }
        ureq::Error::Timeout(_) => Failure::Broken { host, why: NO_DATA.into() },
        other => Failure::Unreachable { host, why: other.to_string() },
    }
}

/// Converts an error that occurred while reading a body.
pub(super) fn broken_body(error: std::io::Error, host: &str) -> Failure {
    let is_late = error.kind() == std::io::ErrorKind::TimedOut || error.to_string().contains("timeout");
    let why = if is_late { NO_DATA.into() } else { error.to_string() };
    Failure::Broken { host: host.into(), why }
}

fn text(response: &Response<Body>, header: &str) -> Option<String> {
    response.headers().get(header)?.to_str().ok().map(str::to_owned)
}

fn is_same(url: &str, endpoint: &str) -> bool {
    origin(url).eq_ignore_ascii_case(origin(endpoint))
}

/// The absolute URL of a redirect.
fn joined(url: &str, location: &str) -> String {
    if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}:{location}", url.split(':').next().unwrap_or("https"))
    } else if location.starts_with('/') {
        format!("{}{location}", origin(url))
    } else {
        let path = url.split(['?', '#']).next().unwrap_or(url);
        format!("{}/{location}", path.rsplit_once('/').map_or(path, |(folder, _)| folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_of_every_form() {
        let url = "https://hub.co:8443/some/model/resolve/main/x?download=true";
        for (location, whole) in [
            ("https://cdn.co/x?sig=1", "https://cdn.co/x?sig=1"),
            ("//cdn.co/x", "https://cdn.co/x"),
            ("/api/x", "https://hub.co:8443/api/x"),
            ("y", "https://hub.co:8443/some/model/resolve/main/y"),
        ] {
            assert_eq!(joined(url, location), whole);
        }
    }

    #[test]
    fn the_token_is_for_one_scheme_host_and_port() {
        let endpoint = "https://hub.co/mirror";
        assert!(is_same("https://hub.co/x", endpoint) && is_same("https://HUB.co", endpoint));
        for other in ["http://hub.co/x", "https://hub.co:8443/x", "https://hub.co.evil.org/x", "https://cdn.hub.co/x"] {
            assert!(!is_same(other, endpoint), "{other}");
        }
    }
}
