//! A small Hub on a local port for tests: one repository, large files on another port, and faults on demand.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;
use sha1::Digest;

/// The name of the repository, and its former name.
pub const REPOSITORY: &str = "some/model";
const RENAMED: &str = "old/model";
pub const FIRST: &str = "0123456789abcdef0123456789abcdef01234567";
pub const SECOND: &str = "89abcdef0123456789abcdef0123456789abcdef";

pub type Files = BTreeMap<String, Vec<u8>>;

/// A fault in the next answer that sends a file; for `Status`, in the next answer of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection closes after this many bytes, although the headers announce more.
    Cut(usize),
    /// The answer announces and sends only this many bytes.
    Short(usize),
    /// One byte is wrong.
    Corrupt,
    /// The whole file is sent although the request asks for a range.
    Whole,
    /// Nothing is sent, and the connection stays open.
    Silence,
    /// This many bytes are sent, then nothing, and the connection stays open.
    Stall(usize),
    /// An error status with an `x-error-code`.
    Status(u16, &'static str),
    /// An error status instead of a file.
    Refuse(u16),
}

/// A request that the server received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, or `GET cdn` on the port for large files.
    pub what: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
}

#[derive(Default)]
struct State {
    /// The files of each commit.
    commits: HashMap<&'static str, Files>,
    /// The commit that `main` points to.
    head: &'static str,
    token: Option<&'static str>,
    /// Pending faults, keyed by the end of a path.
    faults: HashMap<&'static str, VecDeque<Fault>>,
    requests: Vec<Request>,
}

pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

/// An HTTP answer.
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Server {
    /// Starts a server with one commit, to which `main` points.
    pub fn start(files: Files) -> Self {
        let state = State { commits: HashMap::from([(FIRST, files)]), head: FIRST, ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let big = listen("cdn", state.clone(), String::new());
        let endpoint = listen("", state.clone(), big);
        Self { endpoint, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Moves `main` to another commit.
    pub fn push(&self, commit: &'static str, files: Files) {
        let mut state = self.state();
        state.commits.insert(commit, files);
        state.head = commit;
    }

    /// Removes a commit.
    pub fn forget(&self, commit: &str) {
        self.state().commits.remove(commit);
    }

    /// Requires this token for files.
    pub fn require(&self, token: &'static str) {
        self.state().token = Some(token);
    }

    /// Queues faults for the next requests whose path ends with `path`.
    pub fn fail(&self, path: &'static str, faults: &[Fault]) {
        self.state().faults.entry(path).or_default().extend(faults);
    }

    /// The requests received since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

/// Listens on a free local port; `big` is the address of the port for large files, empty for that port itself.
fn listen(name: &'static str, state: Arc<Mutex<State>>, big: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, big) = (state.clone(), big.clone());
            std::thread::spawn(move || serve(stream, name, &state, &big));
        }
    });
    address
}

fn serve(mut stream: TcpStream, name: &str, state: &Mutex<State>, big: &str) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let first = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let header = |wanted: &str| {
        let (_, value) =
            headers.iter().filter_map(|h| h.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(wanted))?;
        Some(value.to_owned())
    };
    let (method, path) = first.split_once(' ').and_then(|(m, rest)| Some((m, rest.split(' ').next()?)))?;
    let request = Request {
        what: format!("{method} {name}").trim().to_owned(),
        path: path.to_owned(),
        range: header("range"),
        authorization: header("authorization"),
    };
    let (mut answer, fault) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let answer = if name.is_empty() { hub(&state, &request, big) } else { cdn(&state, &request) };
        let plain = path.split('?').next()?;
        let sends = method == "GET" && answer.status < 300;
        let fault = state.faults.iter_mut().find(|(end, _)| plain.ends_with(**end)).and_then(|(_, faults)| {
            let is_due = sends || matches!(faults.front(), Some(Fault::Status(..)));
            if is_due { faults.pop_front() } else { None }
        });
        (answer, fault)
    };
    let start = request.range.as_deref().and_then(|r| r.strip_prefix("bytes=")?.trim_end_matches('-').parse().ok());
    if let (Some(start), 200, true) = (start.filter(|_| fault != Some(Fault::Whole)), answer.status, method == "GET") {
        part(&mut answer, start);
    }
    let mut promised = answer.body.len();
    match fault {
        Some(Fault::Status(status, code)) => {
            answer = refusal(status, code);
            promised = 0;
        }
        Some(Fault::Refuse(status)) => {
            answer = refusal(status, "");
            promised = 0;
        }
        Some(Fault::Cut(length) | Fault::Stall(length)) => answer.body.truncate(length),
        Some(Fault::Short(length)) => {
            answer.body.truncate(length);
            promised = answer.body.len();
        }
        Some(Fault::Corrupt) => answer.body[0] ^= 1,
        Some(Fault::Silence) => return hold(stream),
        Some(Fault::Whole) | None => {}
    }
    let status = answer.status;
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {promised}\r\n");
    answer.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    if method == "GET" {
        stream.write_all(&answer.body).ok()?;
    }
    if matches!(fault, Some(Fault::Stall(_))) { hold(stream) } else { Some(()) }
}

/// Keeps a connection open until the client closes it.
fn hold(stream: TcpStream) -> Option<()> {
    BufReader::new(stream).lines().map_while(Result::ok).for_each(drop);
    None
}

fn part(answer: &mut Answer, start: usize) {
    let whole = answer.body.len();
    if start >= whole {
        *answer = refusal(416, "");
        return;
    }
    answer.body.drain(..start);
    answer.status = 206;
    answer.headers.push(("content-range", format!("bytes {start}-{}/{whole}", whole - 1)));
}

fn refusal(status: u16, code: &str) -> Answer {
    Answer { status, headers: vec![("x-error-code", code.into())], body: Vec::new() }
}

/// The answers of the Hub itself: file lists, small files, and redirects for large files and renamed repositories.
fn hub(state: &State, request: &Request, big: &str) -> Answer {
    // The repository is a model and a data set.
    let path = request.path.split('?').next().unwrap_or_default().replacen("/api/datasets/", "/api/models/", 1);
    let path = path.strip_prefix("/datasets").unwrap_or(&path);
    if path.contains(RENAMED) {
        let headers = vec![("location", path.replace(RENAMED, REPOSITORY))];
        return Answer { status: 307, headers, body: Vec::new() };
    }
    let is_known = state.token.is_none_or(|t| request.authorization.as_deref() == Some(&format!("Bearer {t}")));
    let commit_of = |revision: &str| if revision == "main" { state.head.to_owned() } else { revision.to_owned() };
    if let Some(revision) = path.strip_prefix(&format!("/api/models/{REPOSITORY}/revision/")) {
        let commit = commit_of(revision);
        let Some(files) = state.commits.get(commit.as_str()) else { return refusal(404, "RevisionNotFound") };
        let siblings: Vec<_> = files.keys().map(|name| json!({"rfilename": name, "size": null})).collect();
        let info = json!({"id": REPOSITORY, "sha": commit, "siblings": siblings, "private": false, "tags": []});
        return Answer { status: 200, headers: Vec::new(), body: info.to_string().into_bytes() };
    }
    let Some((revision, name)) =
        path.strip_prefix(&format!("/{REPOSITORY}/resolve/")).and_then(|rest| rest.split_once('/'))
    else {
        // The Hub does not reveal to anonymous clients whether a repository exists.
        return refusal(if request.authorization.is_some() { 404 } else { 401 }, "RepoNotFound");
    };
    let commit = commit_of(revision);
    let file = state.commits.get(commit.as_str()).and_then(|files| files.get(name));
    let Some(body) = file.cloned() else { return refusal(404, "EntryNotFound") };
    if !is_known {
        return refusal(401, "GatedRepo");
    }
    let mut headers = vec![("x-repo-commit", commit.clone()), ("accept-ranges", "bytes".into())];
    if is_big(name) {
        let place = format!("{big}/{commit}/{name}?X-Signature=abc");
        headers.push(("x-linked-etag", format!("\"{}\"", hex(&sha2::Sha256::digest(&body)))));
        headers.push(("x-linked-size", body.len().to_string()));
        headers.extend([("etag", "\"of-the-redirect\"".into()), ("location", place)]);
        return Answer { status: 302, headers, body: Vec::new() };
    }
    let blob = [format!("blob {}\0", body.len()).as_bytes(), &body].concat();
    headers.push(("etag", format!("\"{}\"", hex(&sha1::Sha1::digest(&blob)))));
    Answer { status: 200, headers, body }
}

/// The answers of the port for large files.
fn cdn(state: &State, request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let file = path.split_once('/').and_then(|(commit, name)| state.commits.get(commit)?.get(name));
    match file {
        Some(body) => Answer { status: 200, headers: vec![("etag", "\"of-the-cdn\"".into())], body: body.clone() },
        None => refusal(403, ""),
    }
}

/// Whether a file is stored in git LFS.
fn is_big(name: &str) -> bool {
    [".safetensors", ".bin", ".model", ".parquet"].iter().any(|end| name.ends_with(end))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
