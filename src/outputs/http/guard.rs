//! What every request goes through before it is answered: rate, host, origin, rights; and the headers
//! that every answer carries.
//!
//! A browser on the same machine or network can be made to talk to us by any web page that it shows.
//! So a request counts only if its `Host` is an address or a name that is ours (a page can't fake it by
//! pointing its own name at us: DNS rebinding), and one that changes something only if its `Origin`,
//! where there is one, is us, and if it could not have come from a plain form.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::Right;
use super::limits::Peer;
use super::refusal::Refusal;
use super::site::Site;

/// Nothing but what we serve ourselves runs or is shown, and nobody frames us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
];

/// For every request, whatever it asks for.
pub(super) async fn everyone(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match admit(&site, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// For requests that show or change something: what only reads needs the right to see.
pub(super) async fn private(
    State(site): State<Arc<Site>>,
    request: Request,
    next: Next,
) -> Response {
    let right = if is_read(request.method()) { Right::See } else { Right::Change };
    let peer = peer_of(&request);
    match site.access.check(request.headers(), peer, right, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Who sent the request.
pub(super) fn peer_of(request: &Request) -> Peer {
    let unknown = || Peer::from(std::net::IpAddr::from([0, 0, 0, 0]));
    request.extensions().get().copied().unwrap_or_else(unknown)
}

fn admit(site: &Site, request: &Request) -> Result<(), Refusal> {
    let (headers, peer, now) = (request.headers(), peer_of(request), Instant::now());
    site.requests_of
        .take(peer, now)
        .map_err(|wait| Refusal::too_often("too many requests: wait", wait))?;
    let Some(host) = single(headers, &header::HOST) else {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "one Host header is needed"));
    };
    if !is_ours(host, &site.names) {
        return Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this device is not known by that name: use its address, or add the name to http.names",
        ));
    }
    if is_cross_site(headers, host) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "another site may not ask this device"));
    }
    // A form of another page can send none of these; whoever has the token is no such page.
    let needs_type = *request.method() == Method::POST;
    if needs_type && !is_json(headers) && !site.access.has_bearer(headers, peer, now)? {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send it with Content-Type: application/json",
        ));
    }
    Ok(())
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// A header that must not be given twice.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether a `Host` means this device. An address is always fine: rebinding needs a name.
fn is_ours(host: &str, names: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().is_ok()
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

/// Whether a page of another site sent this: by `Origin`, which browsers send with everything that
/// changes something, or by what they say of the site. A link or a typed address is not.
fn is_cross_site(headers: &HeaderMap, host: &str) -> bool {
    if headers.contains_key(header::ORIGIN) {
        let origin = single(headers, &header::ORIGIN).and_then(|origin| origin.parse::<Uri>().ok());
        let authority = origin.as_ref().and_then(Uri::authority);
        return authority.is_none_or(|origin| !origin.as_str().eq_ignore_ascii_case(host));
    }
    let says = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_link = says("sec-fetch-mode") == Some("navigate");
    !is_link && matches!(says("sec-fetch-site"), Some("cross-site" | "same-site"))
}

fn is_json(headers: &HeaderMap) -> bool {
    single(headers, &header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_ours() {
        let names = ["localhost".to_owned(), "hall.local".to_owned()];
        for ours in [
            "127.0.0.1:8780",
            "192.168.1.7",
            "[::1]:8780",
            "[fe80::1]",
            "localhost:8780",
            "LOCALHOST",
            "hall.local:80",
            "hall.local.",
        ] {
            assert!(is_ours(ours, &names), "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:8780",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "hall.local@evil.example",
            "",
            "a b",
        ] {
            assert!(!is_ours(other, &names), "{other}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let cross = |pairs: &[(&'static str, &str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
            });
            is_cross_site(&headers.collect(), "127.0.0.1:8780")
        };
        assert!(!cross(&[]), "a program");
        assert!(!cross(&[("origin", "http://127.0.0.1:8780")]));
        assert!(!cross(&[("origin", "https://127.0.0.1:8780")]), "behind a TLS proxy");
        assert!(!cross(&[("sec-fetch-site", "same-origin")]));
        assert!(!cross(&[("sec-fetch-site", "none")]), "a typed address");
        assert!(!cross(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        assert!(cross(&[("origin", "http://evil.example")]));
        assert!(cross(&[("origin", "http://127.0.0.1:9999")]), "another port is another site");
        assert!(cross(&[("origin", "null")]));
        assert!(cross(&[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(cross(&[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")]));
    }

    #[test]
    fn only_json_counts_as_json() {
        let json = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(json("application/json") && json("Application/JSON; charset=utf-8"));
        for form in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
            assert!(!json(form), "{form}");
        }
    }
}
