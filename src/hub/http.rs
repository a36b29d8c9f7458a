//! HTTP: one GET that follows redirects, with the token for the hub alone, and what answers mean.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, BodyReader};

use super::licence::shown;
use super::listing::FileDigest;
use super::pace::Paced;
use super::retry::Stop;
use super::url::{joined, origin, repository_of, without_secrets};
use super::{HubError, Settings, Token};

/// Most redirects from one address to the next.
const REDIRECTS_MAX: usize = 8;
/// Most bytes of an answer's body that are read for what it says of an error.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Time to find a host and to reach it.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// What speaks with the hub, and with where it sends us.
pub(super) struct Http {
    agent: Agent,
    token: Option<Token>,
    endpoint: String,
    stall: Duration,
    has_authorities: bool,
}

/// An answer of success, and of a range that can't be: 200, 206, 416.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Of the file, as the hub itself says; where a file lies elsewhere, what that server says doesn't count.
    pub(super) digest: Option<FileDigest>,
    /// Of the whole file, in bytes.
    pub(super) bytes: Option<u64>,
    /// Where the body begins in the file, and the file's size, where the answer is a part of it.
    pub(super) range: Option<(u64, Option<u64>)>,
    pub(super) body: Paced<BodyReader<'static>>,
}

/// What is asked of an address.
#[derive(Clone, Copy)]
pub(super) enum Ask {
    /// All that is there from this byte on.
    From(u64),
    /// Its headers alone, and not those of where it leads outside of the hub.
    Head,
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Self {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let has_authorities = !certificates.is_empty();
        let certificates = certificates.iter().map(|der| Certificate::from_der(der).to_owned());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::from(certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let stall = settings.patience.stall;
        let agent = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("edgeclip/", env!("CARGO_PKG_VERSION")))
            // Each answer on the way says something, and not each may see the token.
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_resolve(Some(CONNECT_MAX))
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(stall))
            .timeout_per_read(Some(stall))
            .timeout_per_write(Some(stall))
            .build()
            .new_agent();
        let (token, endpoint) = (settings.token.clone(), settings.endpoint.clone());
        Self { agent, token, endpoint, stall, has_authorities }
    }

    /// Asks, and follows where it leads.
    pub(super) fn get(&self, url: &str, ask: Ask) -> Result<Answer, Stop> {
        let hub = origin(url);
        let mut at = url.to_owned();
        // What the hub says of a file that it keeps elsewhere.
        let (mut linked_digest, mut linked_bytes) = (None, None);
        for _ in 0..=REDIRECTS_MAX {
            let is_hub = hub.is_some() && origin(&at) == hub;
            let answer = self.request(&at, ask, is_hub)?;
            let status = answer.status().as_u16();
            let text =
                |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
            if is_hub {
                linked_digest = linked_digest.or_else(|| FileDigest::parse(text("x-linked-etag")?));
                linked_bytes = linked_bytes.or_else(|| text("x-linked-size")?.parse::<u64>().ok());
            }
            if (300..400).contains(&status) {
                let next = text("location").map(|to| joined(&at, to));
                let next = next
                    .ok_or_else(|| redirect(&at, "leads nowhere: a redirect without an address"))?;
                let next = next.map_err(|reason| redirect(&at, reason))?;
                if matches!(ask, Ask::Head) && origin(&next) != hub {
                    let (digest, bytes) = (linked_digest, linked_bytes);
                    return Ok(Answer {
                        status: 200,
                        digest,
                        bytes,
                        range: None,
                        body: self.paced(answer),
                    });
                }
                at = next;
                continue;
            }
            if !matches!(status, 200 | 206 | 416) {
                return Err(self.refused(&at, is_hub, answer));
            }
            let own_digest = || text("etag").filter(|_| is_hub).and_then(FileDigest::parse);
            let own_bytes =
                || text("content-length").filter(|_| status == 200)?.parse::<u64>().ok();
            let range = text("content-range").filter(|_| status == 206).and_then(content_range);
            let digest = linked_digest.or_else(own_digest);
            let bytes = linked_bytes.or_else(own_bytes).or_else(|| range?.1);
            return Ok(Answer { status, digest, bytes, range, body: self.paced(answer) });
        }
        Err(redirect(url, "is redirected without end").into())
    }

    fn paced(&self, answer: Response<Body>) -> Paced<BodyReader<'static>> {
        Paced::new(answer.into_body().into_reader(), self.stall)
    }

    fn request(&self, url: &str, ask: Ask, is_hub: bool) -> Result<Response<Body>, Stop> {
        // Lengths and ranges are of what is stored.
        let asked = |request: ureq::RequestBuilder<ureq::typestate::WithoutBody>| {
            let request = request.header("accept-encoding", "identity");
            match &self.token {
                Some(token) if is_hub => {
                    request.header("authorization", format!("Bearer {}", token.secret()))
                }
                _ => request,
            }
        };
        let answer = match ask {
            Ask::Head => asked(self.agent.head(url)).call(),
            Ask::From(0) => asked(self.agent.get(url)).call(),
            Ask::From(at) => {
                asked(self.agent.get(url)).header("range", format!("bytes={at}-")).call()
            }
        };
        answer.map_err(|error| self.broken(url, &error))
    }

    /// What to do about a connection that failed.
    fn broken(&self, url: &str, error: &ureq::Error) -> Stop {
        use std::io::ErrorKind::InvalidData;
        let of_tls = match error {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => true,
            // What rustls says comes wrapped.
            ureq::Error::Io(error) => error.kind() == InvalidData,
            _ => false,
        };
        let missing = " (this system has no certificates of authorities: install them, Debian: ca-certificates, or set SSL_CERT_FILE)";
        let hint = if of_tls && !self.has_authorities { missing } else { "" };
        let network = HubError::Network {
            url: without_secrets(url),
            reason: format!("{}{hint}", plain(error)),
        };
        let is_lasting = of_tls
            || matches!(
                error,
                ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl
            );
        if is_lasting { Stop::Final(network) } else { Stop::Again(network, None) }
    }

    /// What an answer other than success means.
    fn refused(&self, url: &str, is_hub: bool, answer: Response<Body>) -> Stop {
        let status = answer.status().as_u16();
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let code = text("x-error-code").unwrap_or_default().to_owned();
        let asked_wait = wait(text("retry-after"), text("ratelimit").filter(|_| status == 429));
        let message = text("x-error-message").map(shown);
        let endpoint = self.endpoint.clone();
        if is_hub && (status == 403 || code == "GatedRepo") {
            return HubError::Gated { repository: repository_of(url), endpoint }.into();
        }
        if is_hub && (status == 401 || code == "RepoNotFound") {
            // To those whom it doesn't know, the hub does not say what there is.
            let is_unknown = self.token.is_none() || code == "RepoNotFound";
            let missing = HubError::NoRepository {
                repository: repository_of(url),
                endpoint: endpoint.clone(),
            };
            return Stop::Final(if is_unknown { missing } else { HubError::Token { endpoint } });
        }
        let message = message.unwrap_or_else(|| message_of(self.paced(answer)));
        let error = HubError::Status { url: without_secrets(url), status, code, message };
        match status {
            // Addresses that storage gives out hold for a while; the hub gives out new ones.
            403 if !is_hub => Stop::Again(error, None),
            408 | 425 | 429 | 500..=599 => Stop::Again(error, asked_wait),
            _ => Stop::Final(error),
        }
    }
}

fn redirect(url: &str, reason: &'static str) -> HubError {
    HubError::Redirect { url: without_secrets(url), reason }
}

/// `bytes 5-9/10`: where a part begins, and how long the whole is.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let begin = span.split_once('-')?.0.trim().parse().ok()?;
    Some((begin, whole.trim().parse().ok()))
}

/// How long a server asks to wait: seconds or a date, else the time until its count of requests begins anew.
fn wait(retry_after: Option<&str>, rate_limit: Option<&str>) -> Option<Duration> {
    let seconds = |text: &str| text.trim().parse().ok().map(Duration::from_secs);
    let until = |text: &str| {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        let seconds = date.as_second() - jiff::Timestamp::now().as_second();
        Some(Duration::from_secs(seconds.try_into().unwrap_or(0)))
    };
    let of_limit =
        |text: &str| text.split(';').find_map(|part| seconds(part.trim().strip_prefix("t=")?));
    let asked = retry_after.and_then(|text| seconds(text).or_else(|| until(text)));
    asked.or_else(|| rate_limit.and_then(of_limit))
}

/// What a server says of an error: a JSON object's `error`, else its first line.
fn message_of(body: impl Read) -> String {
    #[derive(Deserialize)]
    struct Message {
        error: String,
    }
    let mut bytes = Vec::new();
    if body.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    if let Ok(Message { error }) = serde_json::from_slice(&bytes) {
        return shown(&error);
    }
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    // A page for browsers says nothing here.
    if line.trim_start().starts_with('<') { String::new() } else { shown(line) }
}

/// The error without the library's own prefix.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::BadUri(_) => "it is no address".to_owned(),
        ureq::Error::Timeout(which) => format!("nothing came for too long ({which})"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_all_their_forms() {
        let s = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(wait(Some("7"), None), s(7));
        assert_eq!(wait(Some("Wed, 21 Oct 2015 07:28:00 GMT"), None), s(0));
        assert!(wait(Some("Thu, 21 Oct 2100 07:28:00 GMT"), None) > s(1_000_000));
        assert_eq!(wait(None, Some("\"api\";r=0;t=55")), s(55));
        assert_eq!(wait(Some("soon"), None), None);
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("items 5-9/10"), None);
    }
}
