//! Requests to the Hub: where they go, who may see the token, how long an answer is waited for.

use std::io::Read;
use std::time::{Duration, Instant};

use hf_hub::api::RepoInfo;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::failure::{Failure, origin, shown};
use super::settings::Settings;
use crate::watch::{Interrupted, Watch};

/// How often a request is made before its failure counts.
pub const TRIES: u32 = 4;
/// The Hub needs two: one for a name that moved, one to where files are kept.
const REDIRECTS: usize = 8;
/// A list of files is a few kilobytes; what is bigger than this is none.
const LARGEST_ANSWER: u64 = 64 << 20;

/// Speaks to one Hub.
pub struct Client<'a> {
    agent: Agent,
    settings: &'a Settings,
}

/// What the Hub says of a file before it is fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Names the content, and is a hash of it.
    pub etag: String,
    pub size: Option<u64>,
}

/// A file on its way.
pub struct Content {
    /// Which byte of the file comes first: 0 where the server does not continue.
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
    pub fn new(settings: &'a Settings) -> Self {
        // Redirects are followed here, because the token must not go along.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("pipe/", env!("CARGO_PKG_VERSION")))
            // Compressed, sizes and ranges would be those of something else.
            .accept_encoding("identity")
            .timeout_resolve(Some(settings.patience))
            .timeout_connect(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .timeout_per_write(Some(settings.patience))
            .build();
        Self { agent: agent.into(), settings }
    }

    /// The commit and the files of a repository; `path` is below `/api/`.
    pub fn info(&self, path: &str) -> Result<RepoInfo, Failure> {
        let url = format!("{}/api/{path}", self.settings.endpoint);
        let response = self.send(Method::Get, &url, 0)?;
        let broken = |why: String| Failure::Broken { host: shown(origin(&url)), why };
        let mut body = response.into_body();
        let text = body.with_config().limit(LARGEST_ANSWER).read_to_string().map_err(|e| broken(e.to_string()))?;
        serde_json::from_str(&text).map_err(|e| broken(format!("its answer is no list of files: {e}")))
    }

    /// The etag and size of a file; `path` is below the endpoint.
    pub fn head(&self, path: &str) -> Result<Head, Failure> {
        let url = format!("{}/{path}", self.settings.endpoint);
        let response = self.send(Method::Head, &url, 0)?;
        let header = |name| text(&response, name);
        // Of a file that is kept elsewhere the Hub says what it is in headers of its own.
        let etag = header("x-linked-etag").or_else(|| header("etag")).unwrap_or_default();
        let size = header("x-linked-size").or_else(|| header("content-length"));
        Ok(Head {
            etag: etag.trim_start_matches("W/").trim_matches('"').to_owned(),
            size: size.and_then(|size| size.parse().ok()),
        })
    }

    /// A file from the byte `from` on, or from its first where the server cannot do that.
    pub fn get(&self, path: &str, from: u64) -> Result<Content, Failure> {
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
            // Other hosts, such as where the Hub keeps big files, must not see who asks.
            if let Some(token) = self.settings.token.as_ref().filter(|_| is_same(&url, &self.settings.endpoint)) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| failure(error, host()))?;
            let status = response.status().as_u16();
            let is_told = method == Method::Head && response.headers().contains_key("x-linked-etag");
            match text(&response, "location").filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308)) {
                Some(_) if is_told => return Ok(response),
                Some(location) => url = joined(&url, &location),
                None if matches!(status, 200 | 206) => return Ok(response),
                None => {
                    let what = url.split('?').next().unwrap_or_default()[origin(&url).len()..].to_owned();
                    let code = text(&response, "x-error-code");
                    return Err(Failure::Refused { host: host(), what, status, code });
                }
            }
        }
        Err(Failure::Broken { host: shown(origin(asked)), why: format!("it redirects more than {REDIRECTS} times") })
    }

    /// Asks until there is an answer; what may pass is tried again after a pause.
    pub fn patiently<T>(&self, watch: &dyn Watch, mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        for failed in 0..TRIES - 1 {
            match ask() {
                Err(failure) if failure.is_passing() => self.pause(failed, watch)?,
                answer => return answer,
            }
        }
        ask()
    }

    /// Waits before a request is repeated that has `failed` so often; twice as long each time.
    pub fn pause(&self, failed: u32, watch: &dyn Watch) -> Result<(), Failure> {
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

/// A failure before there was an answer.
fn failure(error: ureq::Error, host: String) -> Failure {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(e) if matches!(e.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted) => {
            Failure::Broken { host, why: e.to_string() }
        }
        ureq::Error::Io(e) => Failure::Unreachable { host, why: e.to_string() },
        ureq::Error::HostNotFound => Failure::Unreachable { host, why: "no such host, or no network".into() },
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            Failure::Unreachable { host, why: "it does not answer".into() }
        }
        ureq::Error::Timeout(_) => Failure::Broken { host, why: "it is silent".into() },
        other => Failure::Unreachable { host, why: other.to_string() },
    }
}

/// What a reader of a body means when it fails.
pub fn broken_body(error: std::io::Error, host: &str) -> Failure {
    let is_late = error.kind() == std::io::ErrorKind::TimedOut || error.to_string().contains("timeout");
    let why = if is_late { "it is silent".into() } else { error.to_string() };
    Failure::Broken { host: host.into(), why }
}

fn text(response: &Response<Body>, header: &str) -> Option<String> {
    response.headers().get(header)?.to_str().ok().map(str::to_owned)
}

fn is_same(url: &str, endpoint: &str) -> bool {
    origin(url).eq_ignore_ascii_case(origin(endpoint))
}

/// Where a redirect leads.
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
