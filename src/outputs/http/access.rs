//! Who may see and who may change: the token for programs, sessions for browsers.
//!
//! | set         | to see           | to change, from a browser    | to change, from a program |
//! |-------------|------------------|------------------------------|---------------------------|
//! | nothing     | anyone who gets through (loopback only) | anyone  | anyone                    |
//! | token       | token            | token                        | token                     |
//! | PIN         | anyone (loopback only) | PIN                    | PIN session               |
//! | token + PIN | token            | token, then PIN              | token                     |
//!
//! `<img>` and `EventSource` can't send a header, so a browser trades the token for a session's cookie
//! that no script can read. Sessions live in memory: after a restart the token is typed again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::limits::{Buckets, Peer, lock};
use super::refusal::Refusal;
use crate::digest::sha256;
use crate::outputs::Secret;

/// Sessions at once; the oldest one makes room.
const SESSIONS_MAX: usize = 64;
/// How long a session lasts.
const SESSION: Duration = Duration::from_hours(7 * 24);
/// How long a session may change things after the PIN was typed.
const CHANGES: Duration = Duration::from_mins(15);
/// Wrong tokens and PINs that one peer may send at once.
const WRONG_MAX: f64 = 5.0;
/// After those, one more comes free in so many seconds: a PIN of six digits takes a year to go through.
const WRONG_S: f64 = 30.0;
/// Bytes of a session's random name.
const ID_BYTES: usize = 32;

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    See,
    Change,
}

/// What someone logs in with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    token: Option<Secret>,
    pin: Option<Secret>,
}

/// The secrets, and who showed that they know them.
#[derive(Debug)]
pub(super) struct Access {
    token: Option<Secret>,
    pin: Option<Secret>,
    /// Cookies know no ports: two devices behind one address need two names.
    cookie: String,
    sessions: Mutex<Vec<Session>>,
    wrong: Buckets,
}

#[derive(Debug)]
struct Session {
    id: String,
    ends: Instant,
    changes_until: Option<Instant>,
}

impl Access {
    pub(super) fn new(token: Option<Secret>, pin: Option<Secret>, port: u16) -> Self {
        let cookie = format!("edgeclip_{port}");
        let wrong = Buckets::new(1.0 / WRONG_S, WRONG_MAX);
        Self { token, pin, cookie, sessions: Mutex::default(), wrong }
    }

    /// Whether a request with these headers may do that.
    pub(super) fn check(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        right: Right,
        now: Instant,
    ) -> Result<(), Refusal> {
        if self.has_bearer(headers, peer, now)? {
            return Ok(());
        }
        let (may_see, may_change) = self.rights(headers, now);
        if !may_see {
            return Err(
                Refusal::new(StatusCode::UNAUTHORIZED, "the token is needed").needs("token")
            );
        }
        if right == Right::Change && !may_change {
            return Err(Refusal::new(StatusCode::FORBIDDEN, "the PIN is needed").needs("pin"));
        }
        Ok(())
    }

    /// Whether the token comes with the request; a wrong one is refused, and counted.
    pub(super) fn has_bearer(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        now: Instant,
    ) -> Result<bool, Refusal> {
        let Some(token) = &self.token else { return Ok(false) };
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(false) };
        let sent = value.to_str().ok().and_then(|value| value.split_once(' '));
        let is_right = sent.is_some_and(|(scheme, sent)| {
            scheme.eq_ignore_ascii_case("bearer") && same(sent.trim(), &token.0)
        });
        // A token is too long to be guessed, so a right one counts whatever others of that peer have tried.
        if !is_right {
            self.may_try(peer, now)?;
            return Err(self.wrong(peer, now, "token"));
        }
        Ok(true)
    }

    /// Begins a session, or widens the one there is. The value of `Set-Cookie`.
    pub(super) fn login(
        &self,
        sent: &Credentials,
        headers: &HeaderMap,
        peer: Peer,
        now: Instant,
    ) -> Result<String, Refusal> {
        self.may_try(peer, now)?;
        let (may_see, may_change) = self.rights(headers, now);
        let knows = |wanted: &Option<Secret>, sent: &Option<Secret>| match (wanted, sent) {
            (Some(wanted), Some(sent)) => Some(same(&sent.0, &wanted.0)),
            _ => None,
        };
        let (token, pin) = (knows(&self.token, &sent.token), knows(&self.pin, &sent.pin));
        if token == Some(false) {
            return Err(self.wrong(peer, now, "token"));
        }
        // Who may not see has no try at the PIN.
        if !may_see && token.is_none() {
            return Err(
                Refusal::new(StatusCode::UNAUTHORIZED, "the token is needed").needs("token")
            );
        }
        if pin == Some(false) {
            return Err(self.wrong(peer, now, "pin"));
        }
        if token.is_none() && pin.is_none() {
            let reason = "give {\"token\": \"..\"} or {\"pin\": \"..\"}, whichever is set up here";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, reason));
        }
        let keeps = may_change && self.pin.is_some();
        let changes_until = (keeps || pin == Some(true)).then(|| now + CHANGES);
        self.begin(headers, changes_until, now)
    }

    /// Ends the session. The value of `Set-Cookie`.
    pub(super) fn logout(&self, headers: &HeaderMap) -> String {
        if let Some(id) = self.cookie_of(headers) {
            lock(&self.sessions).retain(|session| !same(&session.id, id));
        }
        format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", self.cookie)
    }

    /// Whether the sender may see, and whether it may change, by cookie alone.
    pub(super) fn rights(&self, headers: &HeaderMap, now: Instant) -> (bool, bool) {
        let id = self.cookie_of(headers);
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| session.ends > now);
        let session = id.and_then(|id| sessions.iter().find(|session| same(&session.id, id)));
        let may_see = self.token.is_none() || session.is_some();
        let has_pin = session.and_then(|session| session.changes_until).is_some_and(|at| at > now);
        (may_see, may_see && (self.pin.is_none() || has_pin))
    }

    fn begin(
        &self,
        headers: &HeaderMap,
        changes_until: Option<Instant>,
        now: Instant,
    ) -> Result<String, Refusal> {
        let mut random = [0; ID_BYTES];
        if let Err(error) = getrandom::fill(&mut random) {
            let reason = format!("no random numbers: {error}");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        }
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let old = self.cookie_of(headers);
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| old.is_none_or(|old| !same(&session.id, old)));
        if sessions.len() >= SESSIONS_MAX {
            sessions.remove(0);
        }
        let cookie = &self.cookie;
        let age = SESSION.as_secs();
        let set = format!("{cookie}={id}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}");
        sessions.push(Session { id, ends: now + SESSION, changes_until });
        Ok(set)
    }

    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == self.cookie).then_some(value))
    }

    fn may_try(&self, peer: Peer, now: Instant) -> Result<(), Refusal> {
        self.wrong
            .look(peer, now)
            .map_err(|wait| Refusal::too_often("too many wrong tokens or PINs: wait", wait))
    }

    fn wrong(&self, peer: Peer, now: Instant, what: &'static str) -> Refusal {
        // Whoever got here had a try left.
        let _ = self.wrong.take(peer, now);
        log::warn!("http: {peer} sent a wrong {what}");
        let status = if what == "pin" { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        let words = if what == "pin" { "this is not the PIN" } else { "this is not the token" };
        Refusal::new(status, words).needs(what)
    }
}

/// Compares in a time that tells nothing about where two texts differ, nor about their lengths.
fn same(sent: &str, wanted: &str) -> bool {
    let digests = [sent, wanted].map(|text| sha256(text.as_bytes()));
    digests[0].as_bytes().ct_eq(digests[1].as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    const TOKEN: &str = "correct-horse-battery";

    fn access(token: bool, pin: bool) -> Access {
        let secret = |set: bool, text: &str| set.then(|| Secret::from(text));
        Access::new(secret(token, TOKEN), secret(pin, "4711"), 8780)
    }

    fn peer() -> Peer {
        Peer::from(IpAddr::from([10, 0, 0, 1]))
    }

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn credentials(json: &str) -> Credentials {
        serde_json::from_str(json).unwrap()
    }

    /// The headers that a browser sends after `Set-Cookie`.
    fn with_cookie(set: &str) -> HeaderMap {
        headers(&[(header::COOKIE, &format!("a=b; {}", set.split(';').next().unwrap()))])
    }

    fn status(result: Result<(), Refusal>) -> u16 {
        result.map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
    }

    #[test]
    fn rights_by_what_is_set_up() {
        let now = Instant::now();
        let nobody = HeaderMap::new();
        let program = headers(&[(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))]);
        for (token, pin, who, see, change) in [
            (false, false, &nobody, 200, 200),
            (true, false, &nobody, 401, 401),
            (false, true, &nobody, 200, 403),
            (true, true, &nobody, 401, 401),
            (true, false, &program, 200, 200),
            (true, true, &program, 200, 200),
        ] {
            let access = access(token, pin);
            let got = [Right::See, Right::Change]
                .map(|right| status(access.check(who, peer(), right, now)));
            assert_eq!(got, [see, change], "token {token}, PIN {pin}, {who:?}");
        }
    }

    #[test]
    fn a_session_sees_and_the_pin_lets_it_change_for_a_while() {
        let (access, now) = (access(true, true), Instant::now());
        let nobody = HeaderMap::new();
        let only_pin = access.login(&credentials(r#"{"pin":"4711"}"#), &nobody, peer(), now);
        assert_eq!(only_pin.unwrap_err().status(), 401, "the PIN alone opens nothing");
        let token = credentials(&format!(r#"{{"token":"{TOKEN}"}}"#));
        let session = with_cookie(&access.login(&token, &nobody, peer(), now).unwrap());
        assert_eq!(status(access.check(&session, peer(), Right::See, now)), 200);
        assert_eq!(status(access.check(&session, peer(), Right::Change, now)), 403);
        let pin = credentials(r#"{"pin":"4711"}"#);
        let wider = with_cookie(&access.login(&pin, &session, peer(), now).unwrap());
        assert_eq!(status(access.check(&wider, peer(), Right::Change, now)), 200);
        assert_eq!(status(access.check(&session, peer(), Right::See, now)), 401, "replaced");
        let later = now + CHANGES;
        assert_eq!(status(access.check(&wider, peer(), Right::Change, later)), 403);
        assert_eq!(status(access.check(&wider, peer(), Right::See, later)), 200);
        let expired = now + SESSION;
        assert_eq!(status(access.check(&wider, peer(), Right::See, expired)), 401);
    }

    #[test]
    fn a_session_ends_with_logout_and_never_outnumbers_the_limit() {
        let (access, now) = (access(true, false), Instant::now());
        let token = credentials(&format!(r#"{{"token":"{TOKEN}"}}"#));
        let login = || with_cookie(&access.login(&token, &HeaderMap::new(), peer(), now).unwrap());
        let first = login();
        assert!(access.logout(&first).contains("Max-Age=0"));
        assert_eq!(status(access.check(&first, peer(), Right::See, now)), 401);
        let oldest = login();
        let all: Vec<_> = (0..SESSIONS_MAX).map(|_| login()).collect();
        assert_eq!(lock(&access.sessions).len(), SESSIONS_MAX);
        assert_eq!(status(access.check(&oldest, peer(), Right::See, now)), 401);
        assert_eq!(status(access.check(&all[0], peer(), Right::See, now)), 200);
    }

    #[test]
    fn guessing_is_slow() {
        let (access, now) = (access(true, true), Instant::now());
        let guess = headers(&[(header::AUTHORIZATION, "Bearer correct-horse-batterz")]);
        for _ in 0..WRONG_MAX as usize {
            assert_eq!(status(access.check(&guess, peer(), Right::See, now)), 401);
        }
        let right = headers(&[(header::AUTHORIZATION, &format!("Bearer {TOKEN}"))]);
        assert_eq!(status(access.check(&guess, peer(), Right::See, now)), 429);
        assert_eq!(status(access.check(&right, peer(), Right::See, now)), 200, "no lock-out");
        let token = credentials(&format!(r#"{{"token":"{TOKEN}"}}"#));
        let refused = access.login(&token, &HeaderMap::new(), peer(), now).unwrap_err();
        assert_eq!(refused.status(), 429);
        let other = Peer::from(IpAddr::from([10, 0, 0, 2]));
        assert_eq!(status(access.check(&right, other, Right::See, now)), 200, "others go on");
        let later = now + Duration::from_secs_f64(WRONG_S);
        assert_eq!(status(access.check(&right, peer(), Right::See, later)), 200);
    }

    #[test]
    fn only_the_whole_token_is_right() {
        let (access, now) = (access(true, false), Instant::now());
        for (index, wrong) in
            ["Bearer ", "Bearer correct", "Basic correct-horse-battery", "correct-horse-battery"]
                .into_iter()
                .enumerate()
        {
            let peer = Peer::from(IpAddr::from([10, 1, 0, index as u8]));
            let sent = headers(&[(header::AUTHORIZATION, wrong)]);
            assert_eq!(status(access.check(&sent, peer, Right::See, now)), 401, "{wrong}");
        }
        let lower = headers(&[(header::AUTHORIZATION, &format!("bearer {TOKEN}"))]);
        assert_eq!(status(access.check(&lower, peer(), Right::Change, now)), 200);
    }
}
