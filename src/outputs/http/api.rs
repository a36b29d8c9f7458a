//! The routes, and what each one answers.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::Credentials;
use super::guard;
use super::refusal::Refusal;
use super::site::Site;
use super::{metrics, pages};
use crate::capture::SourceState;
use crate::classify::Event;
use crate::outputs::{LabelsReport, Request, Snapshot};
use crate::prompts::SET_BYTES_MAX;

/// Largest body of any other request, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;
/// What is still read of a body over its limit, so that the sender gets to see the answer.
const EXCESS_BYTES_MAX: usize = 8 << 20;
/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(20);
/// How long `/snapshot.jpg` waits for a picture.
const PICTURE_TIME: Duration = Duration::from_secs(5);

type Shared = State<Arc<Site>>;

/// All routes.
pub(super) fn routes(site: Arc<Site>) -> Router {
    let private = Router::new()
        .route("/events", get(events))
        .route("/stream.mjpg", get(stream))
        .route("/snapshot.jpg", get(snapshot))
        .route("/metrics", get(all_metrics))
        .route("/api/state", get(state))
        .route("/api/labels", get(labels).put(put_labels))
        .route("/api/labels/rollback", post(rollback))
        .route("/api/mute", post(mute))
        .route("/api/picture", post(picture))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&site), guard::private));
    pages::routes()
        .route("/healthz", get(healthz))
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .merge(private)
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is no such page"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this can't be done here")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard::everyone))
        .with_state(site)
}

async fn healthz(State(site): Shared) -> Response {
    match site.health.judge(&site.status) {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// What `/api/state` tells.
#[derive(Serialize)]
struct Overview {
    state: Snapshot,
    /// Newest first.
    recent: Vec<Event>,
    /// Whether the picture is shown.
    pictures: bool,
    /// What the asking browser must log in with before it may change something.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs: Option<&'static str>,
}

async fn state(State(site): Shared, request: HttpRequest) -> Json<Overview> {
    let (_, may_change) = site.access.rights(request.headers(), Instant::now());
    let needs = (!may_change && site.options.pin.is_some()).then_some("pin");
    let pictures = site.options.pictures;
    Json(Overview { state: site.status.snapshot(), recent: site.news.recent(), pictures, needs })
}

async fn events(State(site): Shared) -> Response {
    site.news.listen(&site.status).into_response()
}

async fn stream(State(site): Shared) -> Result<Response, Refusal> {
    check_pictures(&site)?;
    Ok(site.live.stream())
}

async fn snapshot(State(site): Shared) -> Result<Response, Refusal> {
    check_pictures(&site)?;
    let unavailable = |reason: &str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    let state = site.status.with(|snapshot| snapshot.source_state);
    // What a viewer still has of a lost source is a picture of the past.
    if matches!(state, SourceState::Lost | SourceState::Silent | SourceState::Quiet) {
        return Err(unavailable("the source sends no frames"));
    }
    let Some(jpeg) = site.live.one(PICTURE_TIME).await else {
        return Err(unavailable("no frame came in time"));
    };
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}

fn check_pictures(site: &Site) -> Result<(), Refusal> {
    if site.options.pictures {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::NOT_FOUND, "pictures are switched off: see http.pictures"))
}

async fn all_metrics(State(site): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::write(&site)).into_response()
}

/// What `GET /api/labels` tells.
#[derive(Serialize)]
struct Labels<'a> {
    text: &'a str,
    label_set: String,
}

async fn labels(State(site): Shared) -> Response {
    let label_set = site.status.with(|snapshot| snapshot.label_set.clone());
    Json(Labels { text: &site.status.labels_text(), label_set }).into_response()
}

async fn put_labels(State(site): Shared, request: HttpRequest) -> Result<Response, Refusal> {
    let text = read_text(request.into_body(), SET_BYTES_MAX).await?;
    let Ok(waiting) = Arc::clone(&site.waiting).try_acquire_owned() else {
        let reason = "other label sets are being taken in: try later";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
    };
    let (sender, receiver) = sync_channel(1);
    send(&site, Request::Labels { text, origin: "http".to_owned(), reply: Some(sender) })?;
    let patience = Duration::from_millis(site.options.reply_ms_max.into());
    // The thread waits on where the client hangs up, and so does its place.
    let wait = move || {
        let _waiting = waiting;
        receiver.recv_timeout(patience)
    };
    let outcome = tokio::task::spawn_blocking(wait).await;
    match outcome {
        Ok(Ok(report)) => Ok(report_response(&report)),
        Ok(Err(RecvTimeoutError::Timeout)) => {
            let reason = "this takes long: the outcome will come as an event 'labels'";
            Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason))
        }
        Ok(Err(RecvTimeoutError::Disconnected)) | Err(_) => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "edgeclip is stopping"))
        }
    }
}

fn report_response(report: &LabelsReport) -> Response {
    let status = if report.accepted { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    (status, Json(report)).into_response()
}

async fn rollback(State(site): Shared) -> Result<StatusCode, Refusal> {
    send(&site, Request::Rollback)
}

async fn picture(State(site): Shared) -> Result<StatusCode, Refusal> {
    send(&site, Request::Picture)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mute {
    muted: bool,
}

async fn mute(State(site): Shared, request: HttpRequest) -> Result<StatusCode, Refusal> {
    let Mute { muted } = read_json(request.into_body()).await?;
    send(&site, Request::Mute(muted))
}

/// Hands a request to the pipeline: 202, since the outcome comes as an event.
fn send(site: &Site, request: Request) -> Result<StatusCode, Refusal> {
    match site.requests.send(request) {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(error) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

async fn login(State(site): Shared, request: HttpRequest) -> Result<Response, Refusal> {
    let (peer, headers) = (guard::peer_of(&request), request.headers().clone());
    let sent: Credentials = read_json(request.into_body()).await?;
    cookie(&site.access.login(&sent, &headers, peer, Instant::now())?)
}

async fn logout(State(site): Shared, headers: HeaderMap) -> Result<Response, Refusal> {
    cookie(&site.access.logout(&headers))
}

fn cookie(set: &str) -> Result<Response, Refusal> {
    let value = HeaderValue::from_str(set)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response())
}

async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = read(body, BODY_BYTES_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("not as expected: {error}")))
}

async fn read_text(body: Body, bytes_max: usize) -> Result<String, Refusal> {
    let bytes = read(body, bytes_max).await?;
    String::from_utf8(bytes.into()).map_err(|_| {
        Refusal::new(StatusCode::BAD_REQUEST, "the text is not UTF-8: save it as UTF-8")
    })
}

/// The whole body, if it is small enough and comes soon enough.
async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
    tokio::time::timeout(BODY_TIME, read_all(body, bytes_max)).await.map_err(late)?
}

async fn read_all(body: Body, bytes_max: usize) -> Result<Bytes, Refusal> {
    let (mut chunks, mut bytes, mut length) = (body.into_data_stream(), BytesMut::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body: {error}")))?;
        length = length.saturating_add(chunk.len());
        if length > bytes_max + EXCESS_BYTES_MAX {
            break;
        }
        if length <= bytes_max {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > bytes_max {
        let reason = format!("the limit is {bytes_max} bytes: send less");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    Ok(bytes.freeze())
}
