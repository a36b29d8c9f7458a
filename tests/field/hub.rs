//! `edgeclip model pull` over TLS, from OpenSSL's own server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server that answers as the files of a folder say, under a certificate of the authority there.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let arguments =
            ["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-cert", "cert.pem", "-key", "key.pem"];
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(folder).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // Read on, so that it is not stopped by a full pipe.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines.find(|line| line.starts_with("ACCEPT ")).expect("it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let port = ready.rsplit(':').next().unwrap().to_owned();
        Self { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a pull of `o/n` says, which trusts the authorities in a file.
fn pull(server: &Server, authorities: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_edgeclip"))
        .args(["model", "pull", "o/n", "--out", "n.eclip"])
        .current_dir(folder.path())
        .env("HF_ENDPOINT", format!("https://localhost:{}", server.port))
        .env("HF_HOME", folder.path())
        .env("SSL_CERT_FILE", authorities)
        .env_remove("SSL_CERT_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_hub_over_tls_needs_an_authority_that_is_trusted() {
    if !super::available("openssl", Command::new("openssl").arg("version")) {
        return;
    }
    let [ours, others] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    super::mqtt::certificates(ours.path());
    super::mqtt::certificates(others.path());
    let json = format!("{{\"sha\": \"{}\", \"siblings\": []}}", "0".repeat(40));
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{json}", json.len());
    let file = ours.path().join("api/models/o/n/revision/main?blobs=true");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, answer).unwrap();
    let server = Server::start(ours.path());
    // What it says is understood: it holds nothing to take in.
    let trusted = pull(&server, &ours.path().join("ca.pem"));
    assert!(trusted.contains("o/n holds no ONNX graphs"), "{trusted}");
    let stranger = pull(&server, &others.path().join("ca.pem"));
    assert!(
        stranger.contains("invalid peer certificate") && !stranger.contains("again in"),
        "{stranger}"
    );
    let nobody = pull(&server, &ours.path().join("none.pem"));
    assert!(nobody.contains("no certificates of authorities"), "{nobody}");
}
