//! A hub of the tests' own, on two ports as the real one: pages, listings and small files come from the hub,
//! large files from storage elsewhere, where the hub sends who asks. It can be told to fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The commit of the tests' repositories.
pub(crate) const COMMIT: &str = "00112233445566778899aabbccddeeff00112233";
/// A file of this many bytes or more is a large one.
const LARGE: usize = 4096;

/// A repository.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) name: String,
    /// Branches, tags and what else names a commit.
    pub(crate) revisions: BTreeMap<String, String>,
    /// The same in each commit.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) card: Value,
    /// Lets in this token alone.
    pub(crate) gated: Option<String>,
    /// Says sizes and digests in its listing, as the real hub does; mirrors may not.
    pub(crate) is_terse: bool,
}

impl Repository {
    pub(crate) fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
        Self {
            name: name.to_owned(),
            revisions: BTreeMap::from([("main".to_owned(), COMMIT.to_owned())]),
            files: files.collect(),
            card: json!({ "license": "mit" }),
            gated: None,
            is_terse: false,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    Hang(usize),
    /// The status says that all is well, and the body is whole, but has so many bytes.
    Short(usize),
    /// The file comes from its beginning, whatever was asked for.
    IgnoreRange,
    /// A part comes that was not asked for.
    WrongRange,
    /// The first byte of what comes is another one.
    Corrupt,
    /// Another file than the listing said.
    Changed,
    /// An answer without the file.
    Status(u16, Vec<(&'static str, String)>, String),
    /// A body without a size that never ends.
    Endless,
    /// One byte of the body comes at a time, and never the last one.
    Drip,
    /// The head comes so, and never its end.
    DripHead,
    /// The last byte of a body waits until this says so.
    Wait(Arc<AtomicBool>),
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Whether it came to the hub, or to its storage.
    pub(crate) is_hub: bool,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct State {
    hub: String,
    storage: String,
    repositories: Mutex<Vec<Repository>>,
    requests: Mutex<Vec<Request>>,
    /// In whose target, how often still, and what.
    faults: Mutex<Vec<(String, usize, Vec<Fault>)>>,
}

/// A running hub. Its threads end with the test.
pub(crate) struct Hub {
    state: Arc<State>,
}

impl Hub {
    pub(crate) fn start(repositories: &[Repository]) -> Self {
        let [hub, storage] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            hub: address(&hub),
            storage: address(&storage),
            repositories: Mutex::new(repositories.to_vec()),
            ..State::default()
        });
        for (listener, is_hub) in [(hub, true), (storage, false)] {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    // Who is cut off, or killed, leaves a broken pipe behind.
                    thread::spawn(move || drop(state.serve(stream, is_hub)));
                }
            });
        }
        Self { state }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.state.hub
    }

    /// `times` requests whose target holds `needle` end so, after those that an earlier call was about.
    pub(crate) fn fail(&self, needle: &str, times: usize, faults: &[Fault]) {
        self.state.faults.lock().unwrap().push((needle.to_owned(), times, faults.to_vec()));
    }

    pub(crate) fn mend(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Requests to the storage for a file: the ranges that they asked for.
    pub(crate) fn ranges(&self, needle: &str) -> Vec<Option<String>> {
        let requests = self.requests().into_iter();
        let to_storage =
            requests.filter(|request| !request.is_hub && request.target.contains(needle));
        to_storage.map(|request| request.header("range").map(str::to_owned)).collect()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Repository>)) {
        change(&mut self.state.repositories.lock().unwrap());
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn git_blob(bytes: &[u8]) -> String {
    hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

type Headers = Vec<(&'static str, String)>;

impl State {
    fn serve(&self, stream: TcpStream, is_hub: bool) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let request = Request { is_hub, method, target, headers };
        self.requests.lock().unwrap().push(request.clone());
        self.answer(&request, stream)
    }

    /// The faults that this request meets.
    fn faults_of(&self, target: &str) -> Vec<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let meets = |(needle, times, _): &&mut (String, usize, Vec<Fault>)| {
            *times > 0 && target.contains(needle.as_str())
        };
        let Some((_, times, met)) = faults.iter_mut().find(meets) else { return Vec::new() };
        *times -= 1;
        met.clone()
    }

    fn answer(&self, request: &Request, stream: TcpStream) -> std::io::Result<()> {
        let faults = self.faults_of(&request.target);
        let status = faults.iter().find_map(|fault| match fault {
            Fault::Status(status, headers, body) => {
                Some((*status, headers.clone(), body.clone().into_bytes()))
            }
            _ => None,
        });
        if let Some((status, headers, body)) = status {
            return write(stream, request, status, headers, &body, &[]);
        }
        let target = request.target.split('?').next().unwrap();
        if !request.is_hub {
            // /storage/OWNER/NAME/PATH
            let Some((_, bytes)) = self.find(&target["/storage/".len()..].replace("%20", " "), "")
            else {
                return write(stream, request, 404, Vec::new(), b"", &[]);
            };
            // As object stores do: a digest of their own, which is not the hub's.
            return write_file(
                stream,
                request,
                vec![("etag", "\"storage-1\"".to_owned())],
                bytes,
                &faults,
            );
        }
        if let Some(rest) = target.strip_prefix("/api/models/") {
            let (status, headers, body) = self.api(request, rest);
            return write(stream, request, status, headers, &body, &faults);
        }
        self.resolve(request, stream, target, &faults)
    }

    fn api(&self, request: &Request, rest: &str) -> (u16, Headers, Vec<u8>) {
        let not_found = |code: &str, message: &str| {
            let headers =
                vec![("x-error-code", code.to_owned()), ("x-error-message", message.to_owned())];
            (404, headers, json!({ "error": message }).to_string().into_bytes())
        };
        let (name, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
        let repositories = self.repositories.lock().unwrap();
        let Some(repository) = repositories.iter().find(|repository| repository.name == name)
        else {
            if request.header("authorization").is_none() {
                // To whom it doesn't know, the hub does not say what there is.
                return (
                    401,
                    vec![("x-error-code", "RepoNotFound".to_owned())],
                    b"{\"error\": \"Invalid username or password.\"}".to_vec(),
                );
            }
            return not_found("RepoNotFound", "Repository not found");
        };
        let revision = revision.replace("%2F", "/");
        let commit = match repository.revisions.get(&revision) {
            Some(commit) => commit,
            None if repository.revisions.values().any(|commit| *commit == revision) => &revision,
            None => return not_found("RevisionNotFound", &format!("Invalid rev id: {revision}")),
        };
        let sibling = |(path, bytes): (&String, &Vec<u8>)| {
            if repository.is_terse {
                return json!({ "rfilename": path });
            }
            let pointer = git_blob(bytes);
            let mut file = json!({ "rfilename": path, "size": bytes.len(), "blobId": pointer });
            if bytes.len() >= LARGE {
                file["lfs"] =
                    json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
            }
            file
        };
        let body = json!({
            "id": repository.name,
            "sha": commit,
            "gated": repository.gated.as_ref().map_or(json!(false), |_| json!("manual")),
            "library_name": "transformers.js",
            "tags": ["onnx", "clip"],
            "cardData": repository.card,
            "siblings": repository.files.iter().map(sibling).collect::<Vec<_>>(),
        });
        (200, vec![("content-type", "application/json".to_owned())], body.to_string().into_bytes())
    }

    /// `/OWNER/NAME/resolve/COMMIT/PATH`
    fn resolve(
        &self,
        request: &Request,
        stream: TcpStream,
        target: &str,
        faults: &[Fault],
    ) -> std::io::Result<()> {
        let not_found = |code: &str| vec![("x-error-code", code.to_owned())];
        let Some((name, rest)) = target[1..].split_once("/resolve/") else {
            return write(stream, request, 404, not_found("RepoNotFound"), b"", &[]);
        };
        let (commit, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (raw, path) = (path, path.replace("%20", " "));
        let Some((repository, bytes)) = self.find(name, &path) else {
            return write(
                stream,
                request,
                404,
                not_found("EntryNotFound"),
                b"Entry not found",
                &[],
            );
        };
        if let Some(token) = &repository.gated
            && request.header("authorization") != Some(&format!("Bearer {token}"))
        {
            let status = if request.header("authorization").is_some() { 403 } else { 401 };
            let words = format!("Access to model {name} is restricted. Please log in.");
            return write(stream, request, status, not_found("GatedRepo"), words.as_bytes(), &[]);
        }
        let mut headers = vec![("x-repo-commit", commit.to_owned())];
        let is_changed = faults.iter().any(|fault| matches!(fault, Fault::Changed));
        let bytes = if is_changed { [&bytes[..], b"more"].concat() } else { bytes };
        if bytes.len() >= LARGE {
            headers.push(("x-linked-etag", format!("\"{}\"", sha256(&bytes))));
            headers.push(("x-linked-size", bytes.len().to_string()));
            headers.push((
                "location",
                format!("{}/storage/{name}/{raw}?Signature=secret", self.storage),
            ));
            return write(stream, request, 302, headers, b"Found. Redirecting", faults);
        }
        headers.push(("etag", format!("\"{}\"", git_blob(&bytes))));
        write_file(stream, request, headers, bytes, faults)
    }

    /// A file by repository and path, or by both in one.
    fn find(&self, name: &str, path: &str) -> Option<(Repository, Vec<u8>)> {
        let repositories = self.repositories.lock().unwrap();
        repositories.iter().find_map(|repository| {
            let rest = name.strip_prefix(&repository.name)?;
            let path = if path.is_empty() { rest.strip_prefix('/')? } else { path };
            Some((repository.clone(), repository.files.get(path)?.clone()))
        })
    }
}

/// A file, or the part of it that is asked for.
fn write_file(
    stream: TcpStream,
    request: &Request,
    mut headers: Headers,
    mut bytes: Vec<u8>,
    faults: &[Fault],
) -> std::io::Result<()> {
    let ignores = faults.iter().any(|fault| matches!(fault, Fault::IgnoreRange));
    let skew = usize::from(faults.iter().any(|fault| matches!(fault, Fault::WrongRange)));
    let range = request.header("range").and_then(|range| range.strip_prefix("bytes="));
    let from = range.and_then(|range| range.trim_end_matches('-').parse::<usize>().ok());
    let whole = bytes.len();
    let Some(from) = from.filter(|_| !ignores) else {
        return write(stream, request, 200, headers, &bytes, faults);
    };
    if from >= whole {
        headers.push(("content-range", format!("bytes */{whole}")));
        return write(stream, request, 416, headers, b"", faults);
    }
    bytes.drain(..from + skew);
    headers.push(("content-range", format!("bytes {}-{}/{whole}", from + skew, whole - 1)));
    write(stream, request, 206, headers, &bytes, faults)
}

fn write(
    mut stream: TcpStream,
    request: &Request,
    status: u16,
    headers: Headers,
    body: &[u8],
    faults: &[Fault],
) -> std::io::Result<()> {
    let mut body = body.to_vec();
    let mut end = body.len();
    for fault in faults.iter().filter(|_| matches!(status, 200 | 206)) {
        match fault {
            Fault::Short(bytes) => {
                body.truncate(*bytes);
                end = body.len();
            }
            Fault::Corrupt if !body.is_empty() => body[0] ^= 1,
            Fault::Cut(at) | Fault::Hang(at) => end = body.len().min(*at),
            Fault::Wait(_) => end = body.len().saturating_sub(1),
            _ => {}
        }
    }
    let has = |wanted: fn(&Fault) -> bool| faults.iter().any(wanted);
    let (is_endless, drips) =
        (has(|of| matches!(of, Fault::Endless)), has(|of| matches!(of, Fault::Drip)));
    if has(|of| matches!(of, Fault::DripHead)) {
        stream.write_all(b"HTTP/1.1 200 x\r\nx-more: ")?;
        return drip(&mut stream);
    }
    let mut head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n");
    if !is_endless {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    // As long as somebody reads it.
    if is_endless && status == 200 {
        return std::io::copy(&mut std::io::repeat(7), &mut stream).map(drop);
    }
    if drips && status == 200 {
        return drip(&mut stream);
    }
    stream.write_all(&body[..end])?;
    for fault in faults.iter().filter(|_| matches!(status, 200 | 206)) {
        match fault {
            Fault::Hang(_) => thread::sleep(Duration::from_mins(10)),
            Fault::Wait(gate) => {
                while !gate.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
            }
            _ => continue,
        }
        if matches!(fault, Fault::Wait(_)) {
            stream.write_all(&body[end..])?;
        }
    }
    Ok(())
}

fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b" ")?;
        thread::sleep(Duration::from_millis(5));
    }
}
