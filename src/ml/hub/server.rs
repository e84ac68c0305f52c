//! A small Hub on a local port for tests: a model and a data set, large files on another port, and faults on demand.
//!
//! Python's `huggingface_hub` and `datasets` download from it too: `scripts/check_hub.py` holds it to them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use sha1::Digest;

/// The name of the model's repository, and its former name.
pub const REPOSITORY: &str = "some/model";
const RENAMED: &str = "old/model";
/// The name of the data set's repository.
pub const DATA: &str = "some/data";
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

/// A repository.
#[derive(Default)]
struct History {
    /// The files of each commit.
    commits: HashMap<&'static str, Files>,
    /// The commit that `main` points to; empty if there is no such repository.
    head: &'static str,
}

impl History {
    fn push(&mut self, commit: &'static str, files: Files) {
        self.commits.insert(commit, files);
        self.head = commit;
    }

    /// The commit that a revision names, and its files.
    fn at(&self, revision: &str) -> Option<(String, &Files)> {
        let commit = if revision == "main" { self.head } else { revision };
        Some((commit.to_owned(), self.commits.get(commit)?))
    }
}

#[derive(Default)]
struct State {
    model: History,
    data: History,
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
        let mut state = State::default();
        state.model.push(FIRST, files);
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
        self.state().model.push(commit, files);
    }

    /// Adds a commit to the data set, to which its `main` points then.
    pub fn push_data(&self, commit: &'static str, files: Files) {
        self.state().data.push(commit, files);
    }

    /// Removes a commit.
    pub fn forget(&self, commit: &str) {
        self.state().model.commits.remove(commit);
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
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
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
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let (mut answer, fault) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let answer = if name.is_empty() { hub(&state, &request, &body, big) } else { cdn(&state, &request) };
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
    if method != "HEAD" {
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
fn hub(state: &State, request: &Request, body: &[u8], big: &str) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if path.contains(RENAMED) {
        let headers = vec![("location", path.replace(RENAMED, REPOSITORY))];
        return Answer { status: 307, headers, body: Vec::new() };
    }
    let path = path.replace("%2F", "/");
    // The model's repository is a data set too, under its own name.
    for (kind, prefix, name, history) in [
        ("models", "", REPOSITORY, &state.model),
        ("datasets", "datasets/", REPOSITORY, &state.model),
        ("datasets", "datasets/", DATA, &state.data),
    ] {
        if history.head.is_empty() {
            continue;
        }
        let known = state.token.is_none_or(|t| request.authorization.as_deref() == Some(&format!("Bearer {t}")));
        if let Some(rest) = path.strip_prefix(&format!("/api/{kind}/{name}")) {
            let is_whole = query.split('&').any(|field| field.eq_ignore_ascii_case("recursive=true"));
            return described(history, name, rest, body, is_whole);
        }
        if let Some((revision, file)) =
            path.strip_prefix(&format!("/{prefix}{name}/resolve/")).and_then(|rest| rest.split_once('/'))
        {
            return sent(history, (revision, file), known, &format!("{big}/{prefix}"));
        }
    }
    // The Hub does not reveal to anonymous clients whether a repository exists.
    refusal(if request.authorization.is_some() { 404 } else { 401 }, "RepoNotFound")
}

/// What the Hub says about a repository; `rest` follows its name in the path. `is_whole` lists folders with what is below.
fn described(history: &History, name: &str, rest: &str, body: &[u8], is_whole: bool) -> Answer {
    let json = |value: Value| Answer {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: value.to_string().into_bytes(),
    };
    let mut parts = rest.trim_start_matches('/').splitn(3, '/');
    let (what, revision, below) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("main"), parts.next());
    let Some((commit, files)) = history.at(revision) else { return refusal(404, "RevisionNotFound") };
    match what {
        "" | "revision" => {
            let siblings: Vec<_> = files.keys().map(|name| json!({"rfilename": name, "size": null})).collect();
            json(json!({"id": name, "sha": commit, "siblings": siblings, "private": false, "tags": []}))
        }
        "refs" => json(json!({
            "branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": history.head}],
            "converts": [], "tags": [],
        })),
        "tree" => {
            let start = below.map_or(String::new(), |folder| format!("{}/", folder.trim_end_matches('/')));
            let is_listed = |name: &str| {
                name.strip_prefix(&start).is_some_and(|rest| is_whole || !rest.is_empty() && !rest.contains('/'))
            };
            let all = files.iter().filter(|(name, _)| is_listed(name)).map(|(name, content)| entry(name, content));
            let folders = folders(files).into_iter().filter(|name| is_listed(name)).map(folder);
            let found: Vec<Value> = folders.chain(all).collect();
            if found.is_empty() && below.is_some() { refusal(404, "EntryNotFound") } else { json(found.into()) }
        }
        // Form fields, or JSON: `{"paths": ["a", "b"]}`.
        "paths-info" => {
            let asked = String::from_utf8_lossy(body).replace("%2F", "/");
            let is_asked = |name: &str| match serde_json::from_str::<Value>(&asked) {
                Ok(json) => json["paths"].as_array().is_some_and(|all| all.iter().any(|path| path == name)),
                Err(_) => asked.split('&').any(|field| field.strip_prefix("paths=") == Some(name)),
            };
            let mut found: Vec<Value> =
                files.iter().filter(|(name, _)| is_asked(name)).map(|(name, content)| entry(name, content)).collect();
            found.extend(folders(files).into_iter().filter(|name| is_asked(name)).map(folder));
            json(found.into())
        }
        _ => refusal(404, ""),
    }
}

/// Every folder above a file.
fn folders(files: &Files) -> BTreeSet<&str> {
    files.keys().flat_map(|name| name.match_indices('/').map(|(at, _)| &name[..at])).collect()
}

fn folder(name: &str) -> Value {
    json!({"type": "directory", "path": name, "oid": git_hash(name.as_bytes()), "size": 0})
}

/// A file in the list of a folder.
fn entry(name: &str, content: &[u8]) -> Value {
    let mut entry = json!({"type": "file", "path": name, "size": content.len(), "oid": git_hash(content)});
    if is_big(name) {
        entry["lfs"] = json!({"oid": sha256(content), "size": content.len(), "pointerSize": 134});
    }
    entry
}

/// A file, or the redirect to the port for large files at `big`.
fn sent(history: &History, (revision, name): (&str, &str), is_known: bool, big: &str) -> Answer {
    let Some((commit, files)) = history.at(revision) else { return refusal(404, "RevisionNotFound") };
    let mut headers = vec![("x-repo-commit", commit.clone()), ("accept-ranges", "bytes".into())];
    let Some(body) = files.get(name).cloned() else {
        headers.push(("x-error-code", "EntryNotFound".into()));
        return Answer { status: 404, headers, body: Vec::new() };
    };
    if !is_known {
        return refusal(401, "GatedRepo");
    }
    if is_big(name) {
        let place = format!("{big}{commit}/{name}?X-Signature=abc");
        headers.push(("x-linked-etag", format!("\"{}\"", sha256(&body))));
        headers.push(("x-linked-size", body.len().to_string()));
        headers.extend([("etag", "\"of-the-redirect\"".into()), ("location", place)]);
        return Answer { status: 302, headers, body: Vec::new() };
    }
    headers.push(("etag", format!("\"{}\"", git_hash(&body))));
    Answer { status: 200, headers, body }
}

/// The answers of the port for large files.
fn cdn(state: &State, request: &Request) -> Answer {
    let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let path = path.strip_prefix("datasets/").unwrap_or(path);
    let in_history = |history: &'_ History| -> Option<Vec<u8>> {
        path.split_once('/').and_then(|(commit, name)| history.commits.get(commit)?.get(name).cloned())
    };
    let file = in_history(&state.model).or_else(|| in_history(&state.data));
    match file {
        Some(body) => Answer { status: 200, headers: vec![("etag", "\"of-the-cdn\"".into())], body },
        None => refusal(403, ""),
    }
}

fn sha256(content: &[u8]) -> String {
    hex(&sha2::Sha256::digest(content))
}

fn git_hash(content: &[u8]) -> String {
    hex(&sha1::Sha1::digest([format!("blob {}\0", content.len()).as_bytes(), content].concat()))
}

/// Whether a file is stored in git LFS.
fn is_big(name: &str) -> bool {
    [".safetensors", ".bin", ".model", ".parquet"].iter().any(|end| name.ends_with(end))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
