//! Addresses: whose they are, where a redirect leads, and how they are shown.

use iri_string::format::ToDedicatedString;
use iri_string::types::{UriReferenceStr, UriStr};
use ureq::http::Uri;

use super::licence::shown;

/// What is said of a redirect to what is no address.
const LOST: &str = "is redirected to an address that can't be followed";

/// Scheme, host and port.
pub(super) type Origin = (String, String, u16);

/// Who answers at an address.
pub(super) fn origin(url: &str) -> Option<Origin> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    Some((scheme, uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(usual)))
}

/// Where a redirect leads (RFC 3986, 5.2), if that is where we go.
pub(super) fn joined(from: &str, to: &str) -> Result<String, &'static str> {
    let (scheme, ..) = origin(from).ok_or(LOST)?;
    let from = UriStr::new(from).map_err(|_| LOST)?;
    let to = UriReferenceStr::new(to).map_err(|_| LOST)?;
    let mut next = to.resolve_against(from.to_absolute()).to_dedicated_string();
    next.set_fragment(None);
    if next.authority_str().is_some_and(|authority| authority.contains('@')) {
        return Err("is redirected to an address with a user's name in it");
    }
    let next = String::from(next);
    let (leads_to, ..) = origin(&next).ok_or(LOST)?;
    match (scheme.as_str(), leads_to.as_str()) {
        ("https", "https") | ("http", "http" | "https") => Ok(next),
        ("https", "http") => Err("is redirected to an address without encryption"),
        _ => Err("is redirected to what is no HTTP"),
    }
}

/// The address as it may be shown: what comes after `?` can be a secret, and what comes before `@`.
pub(super) fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else { return shown(url) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or(authority);
    shown(&format!("{scheme}://{host}{path}"))
}

/// The repository in an address of the hub, for messages.
pub(super) fn repository_of(url: &str) -> String {
    let path = url.parse::<Uri>().map_or_else(|_| String::new(), |uri| uri.path().to_owned());
    let (_, path) = path.split_once("/api/models").unwrap_or(("", &path));
    let end = path.find("/resolve/").or_else(|| path.find("/revision/"));
    path[..end.unwrap_or(path.len())].trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3986, 5.4.
    #[test]
    fn redirects_are_resolved_as_any_reference_is() {
        for (to, wanted) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../../g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("./g/.", "http://a/b/c/g/"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("/x?u=http://h/", "http://a/x?u=http://h/"),
        ] {
            assert_eq!(joined("http://a/b/c/d;p?q", to).as_deref(), Ok(wanted), "{to}");
        }
    }

    #[test]
    fn redirects_lead_to_addresses_of_http_and_never_out_of_encryption() {
        let from = "https://h/api/models/a?b";
        assert_eq!(joined(from, "https://cdn/x"), Ok("https://cdn/x".to_owned()));
        assert_eq!(joined("http://h:81/", "/x"), Ok("http://h:81/x".to_owned()));
        assert_eq!(joined("http://h:81/", "HTTPS://cdn/x"), Ok("HTTPS://cdn/x".to_owned()));
        for bad in ["http://h/x", "ftp://h/x", "file:///x", "data:x", "https://", "//u:p@h/x", "\n"]
        {
            assert!(joined(from, bad).is_err(), "{bad}");
        }
        assert_eq!(origin("https://H/x"), origin("https://h:443/"));
        assert_ne!(origin("https://h/"), origin("http://h/"));
        assert_ne!(origin("http://h:1/"), origin("http://h:2/"));
    }

    #[test]
    fn addresses_are_shown_without_what_may_be_secret() {
        assert_eq!(without_secrets("https://cdn/x?Signature=s"), "https://cdn/x");
        assert_eq!(without_secrets("https://user:p@ss@cdn/x@1"), "https://cdn/x@1");
        assert_eq!(repository_of("http://h:1/api/models/o/n/revision/main?blobs=true"), "o/n");
        assert_eq!(repository_of("http://h:1/o/n/resolve/c/a.json"), "o/n");
    }
}
