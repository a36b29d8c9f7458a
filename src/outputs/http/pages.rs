//! What the browser runs: embedded, the same for all, without secrets.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, kind, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/kiosk.html")),
    ("/kiosk.js", SCRIPT, include_str!("page/kiosk.js")),
    ("/labels", HTML, include_str!("page/labels.html")),
    ("/labels.js", SCRIPT, include_str!("page/labels.js")),
    ("/common.js", SCRIPT, include_str!("page/common.js")),
    ("/theme.js", SCRIPT, include_str!("page/theme.js")),
    ("/app.css", STYLE, include_str!("page/app.css")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
];

/// Serves the files. Browsers ask each time: after an update the page must fit its device.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for (path, kind, content) in FILES {
        let file = async move || {
            let headers = [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")];
            (headers, *content).into_response()
        };
        router = router.route(path, get(file));
    }
    router
}
