//! What a hub may say other than yes, and what it may not say.

use crate::server::{Fault, Hub, Repository};
use crate::{Session, noise, pull, refused};

fn hub() -> Hub {
    Hub::start(&[Repository::new("o/n", &[("config.json", b"{}"), ("model.onnx", &noise(5000))])])
}

#[test]
fn what_is_not_there_is_named() {
    let hub = hub();
    let session = Session::new(&hub);
    refused(session.pull("o/nn"), &["no repository o/nn at http://127.0.0.1", "HF_TOKEN"]);
    refused(Session::with_token(&hub, "t").pull("o/nn"), &["no repository o/nn"]);
    let revision = pull(&session.client, "o/n", "v9").map(|(_, snapshot)| snapshot);
    refused(revision, &["o/n has no revision 'v9'"]);
    let listing = session.client.listing(
        &"o/n".parse().unwrap(),
        &"main".parse().unwrap(),
        &mut crate::quiet,
    );
    let listing = listing.unwrap();
    let file = session.client.fetch(&listing, &["onnx/model.onnx".to_owned()], &mut crate::quiet);
    refused(file, &["o/n has no file 'onnx/model.onnx' at main"]);
    // Listed, and gone since.
    hub.change(|repositories| drop(repositories[0].files.remove("config.json")));
    let gone = session.client.fetch(&listing, &["config.json".to_owned()], &mut crate::quiet);
    refused(gone, &["o/n has no file 'config.json' at main"]);
    // Asked once: nothing of it gets better.
    assert!(hub.requests().iter().filter(|request| request.target.contains("v9")).count() == 1);
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let gated = Repository {
        gated: Some("hf_right".into()),
        ..Repository::new("o/n", &[("config.json", b"{}")])
    };
    let hub = Hub::start(&[gated]);
    let words = ["o/n is gated: accept its licence at", "/o/n in a browser", "token", "HF_TOKEN"];
    refused(Session::new(&hub).pull("o/n"), &words);
    let message = refused(Session::with_token(&hub, "hf_wrong").pull("o/n"), &words);
    assert!(!message.contains("hf_wrong"), "{message}");
    Session::with_token(&hub, "hf_right").pull("o/n").unwrap();
}

#[test]
fn a_token_that_the_hub_refuses_is_named() {
    let hub = hub();
    hub.fail("/api/", usize::MAX, &[Fault::Status(401, Vec::new(), String::new())]);
    refused(Session::with_token(&hub, "hf_old").pull("o/n"), &["refuses the token", "HF_TOKEN"]);
}

#[test]
fn redirects_without_end_or_out_of_http_are_not_followed() {
    for (to, word) in [
        ("/api/models/o/n/revision/main", "without end"),
        ("file:///etc/passwd", "can't be followed"),
        ("ftp://127.0.0.1/x", "no HTTP"),
        ("http://user:geheim@127.0.0.1/x", "a user's name in it"),
    ] {
        let hub = hub();
        let fault = Fault::Status(302, vec![("location", to.to_owned())], String::new());
        hub.fail("/api/", usize::MAX, &[fault]);
        let message =
            refused(Session::new(&hub).pull("o/n"), &["/api/models/o/n/revision/main", word]);
        assert!(!message.contains("geheim"), "{message}");
        assert!(hub.requests().len() < 12, "{to}");
    }
    let hub = hub();
    hub.fail("/api/", 1, &[Fault::Status(302, Vec::new(), String::new())]);
    refused(Session::new(&hub).pull("o/n"), &["a redirect without an address"]);
    let beside = vec![("location", "./../revision/main?blobs=true".to_owned())];
    hub.fail("/api/", 1, &[Fault::Status(302, beside, String::new())]);
    Session::new(&hub).pull("o/n").unwrap();
}

#[test]
fn answers_that_make_no_sense_are_refused() {
    for (body, word) in [
        ("no json", "no JSON"),
        ("{\"sha\": \"x\"}", "no commit"),
        ("{\"sha\": 1}", "nothing that a hub says: invalid type: integer"),
        ("", "no JSON"),
    ] {
        let hub = hub();
        hub.fail("/api/", usize::MAX, &[Fault::Status(200, Vec::new(), body.to_owned())]);
        refused(Session::new(&hub).pull("o/n"), &[word]);
    }
    // Storage that sends web pages, as the door of a hotel's network does.
    let hub = hub();
    hub.fail("/storage/", usize::MAX, &[Fault::Status(200, Vec::new(), "<html>log in".to_owned())]);
    refused(Session::new(&hub).pull("o/n"), &["model.onnx"]);
}

#[test]
fn names_that_leave_the_cache_are_refused() {
    for name in ["../../../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil"] {
        let hub = Hub::start(&[Repository::new("o/n", &[("config.json", b"{}"), (name, b"evil")])]);
        let session = Session::new(&hub);
        refused(session.pull("o/n"), &["the server names a file outside of its repository"]);
        assert!(crate::names(session.cache.path()).is_empty(), "{name}");
    }
}

#[test]
fn a_hub_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let session = Session::with(&hub(), |settings| settings.endpoint.clone_from(&endpoint));
    refused(session.pull("o/n"), &[&endpoint, "refused"]);
}
