//! Addresses: whose they are, where a redirect leads, and how they are shown.

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
    let base: Uri = from.parse().map_err(|_| LOST)?;
    let (scheme, authority) = (base.scheme_str().ok_or(LOST)?, base.authority().ok_or(LOST)?);
    let to = to.split('#').next().unwrap_or_default();
    let next = if has_scheme(to) {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{scheme}:{to}")
    } else {
        format!("{scheme}://{authority}{}", relative(&base, to))
    };
    let uri: Uri = next.parse().map_err(|_| LOST)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("is redirected to an address with a user's name in it");
    }
    let (leads_to, _, _) = origin(&next).ok_or(LOST)?;
    match (scheme, leads_to.as_str()) {
        ("https", "https") | ("http", "http" | "https") => Ok(next),
        ("https", "http") => Err("is redirected to an address without encryption"),
        _ => Err("is redirected to what is no HTTP"),
    }
}

fn has_scheme(to: &str) -> bool {
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    to.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_of_scheme)
    })
}

/// Path and query of a reference without a host.
fn relative(base: &Uri, to: &str) -> String {
    let (path, query) = to.split_once('?').map_or((to, None), |(path, query)| (path, Some(query)));
    let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
    let (path, query) = match path {
        "" => (base.path().to_owned(), query.or(base.query())),
        path if path.starts_with('/') => (without_dots(path), query),
        path => (without_dots(&format!("{folder}/{path}")), query),
    };
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

/// A path from the root without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        if part == ".." {
            kept.pop();
        }
        match part {
            "." | ".." if parts.peek().is_none() => kept.push(""),
            "." | ".." => {}
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
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
