//! The server's thread: binds the port, takes connections, serves them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::api;
use super::limits::{Peer, Seat, lock};
use super::options::Options;
use super::site::Site;

/// First and longest wait before a port that can't be had is tried again.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// Wait after a connection could not be taken, for instance since no file handle was left.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);
/// A request's line and headers, in bytes and in number.
const HEADER_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// Threads that encode pictures and wait for the outcome of label sets.
const BLOCKING_THREADS_MAX: usize = 4;
/// How long threads may go on after the end.
const STOP_TIME: Duration = Duration::from_millis(200);

/// Sent to who finds no seat, whatever was asked.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
                      Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n";

/// Takes the port.
///
/// # Errors
/// Names the address, and the way out.
pub(super) fn bind(address: SocketAddr) -> Result<StdListener, String> {
    StdListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| explain(address, &error))
}

fn explain(address: SocketAddr, error: &io::Error) -> String {
    let way_out = match error.kind() {
        ErrorKind::AddrInUse => "another program has it: stop that, or choose another http.listen",
        ErrorKind::AddrNotAvailable => "this device has no such address (yet): see http.listen",
        ErrorKind::PermissionDenied => "ports below 1024 are the system's: see http.listen",
        _ => "see http.listen",
    };
    format!("can't listen on {address}: {error}; {way_out}")
}

/// The server, until told to stop. Goes on trying where there is no listener yet.
pub(super) fn run(
    site: &Arc<Site>,
    listener: Option<StdListener>,
    bound: &watch::Sender<Option<SocketAddr>>,
    mut stop: watch::Receiver<bool>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_name("http-blocking")
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return log::error!("http: the page can't start: {error}"),
    };
    runtime.block_on(async {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = serve(site, listener, bound) => {}
            () = site.keep_state() => {}
            () = site.keep_health() => {}
            () = site.live.keep_encoding(&site.status, &site.options) => {}
        }
    });
    runtime.shutdown_timeout(STOP_TIME);
}

async fn serve(
    site: &Arc<Site>,
    listener: Option<StdListener>,
    bound: &watch::Sender<Option<SocketAddr>>,
) {
    let listener = listen(site, listener).await;
    match listener.local_addr() {
        Ok(address) => {
            log::info!("http: the page is at http://{address}/");
            bound.send_replace(Some(address));
        }
        Err(error) => log::warn!("http: {error}"),
    }
    let (router, connection) = (api::routes(Arc::clone(site)), connections(&site.options));
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let peer = Peer::from(address.ip());
                let Some(seat) = site.seats.take(peer) else {
                    turn_away(site, &stream);
                    continue;
                };
                prepare(&stream, &site.options);
                tokio::spawn(talk(connection.clone(), stream, router.clone(), peer, seat));
            }
            Err(error) => {
                log::debug!("http: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// The listener, as soon as it can be had.
async fn listen(site: &Site, mut first: Option<StdListener>) -> TcpListener {
    let mut wait = RETRY_MIN;
    loop {
        let listener = match first.take() {
            Some(listener) => Ok(listener),
            None => bind(site.options.listen),
        };
        match listener.and_then(|std| TcpListener::from_std(std).map_err(|e| e.to_string())) {
            Ok(listener) => {
                *lock(&site.trouble) = None;
                return listener;
            }
            Err(reason) => {
                log::debug!("http: {reason}; tried again in {} s", wait.as_secs());
                *lock(&site.trouble) = Some(reason);
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

fn connections(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(options.header_ms_max.into()))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
}

/// News goes out at once, and who reads nothing for long is cut off.
fn prepare(stream: &TcpStream, options: &Options) {
    let set = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let set = set.and_then(|()| {
        Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, options.stalled_ms_max)?)
    });
    if let Err(error) = set {
        log::debug!("http: {error}");
    }
}

async fn talk(
    connection: http1::Builder,
    stream: TcpStream,
    router: Router,
    peer: Peer,
    seat: Seat,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
        log::debug!("http: {peer}: {error}");
    }
    drop(seat);
}

/// Says why, as far as it fits without waiting.
fn turn_away(site: &Site, stream: &TcpStream) {
    site.turned_away.fetch_add(1, Ordering::Relaxed);
    let _ = stream.try_write(BUSY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_way_out() {
        let taken = StdListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let said = bind(address).unwrap_err();
        assert!(said.contains(&address.to_string()), "{said}");
        assert!(said.contains("another program has it") && said.contains("http.listen"), "{said}");
    }

    #[test]
    fn an_address_of_another_machine_is_named_too() {
        let said = bind("203.0.113.1:8780".parse().unwrap()).unwrap_err();
        assert!(said.contains("203.0.113.1:8780") && said.contains("no such address"), "{said}");
    }

    #[test]
    fn the_busy_answer_has_the_length_that_it_says() {
        let text = str::from_utf8(BUSY).unwrap();
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 21);
    }
}
