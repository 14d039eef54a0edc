//! `/metrics`, `/live` and `/ready` over HTTP.
//!
//! # Invariants
//! - It answers GET and nothing else, holds no state of a client, and is bounded in connections and time.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::place::Health;

/// Connections at once.
const CONNECTIONS_MAX: usize = 16;
/// How long one may last.
const TIME_MAX: Duration = Duration::from_secs(30);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What `/ready` answers.
#[derive(Clone, Copy)]
enum State {
    Ready,
    NoDatabase,
    Stopping,
}

/// What `/metrics` answers.
pub(crate) trait Source: Send + Sync + 'static {
    /// In OpenMetrics' text form.
    fn text(&self) -> Result<String, std::fmt::Error>;
}

/// Serves until the server stops.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<dyn Source>,
    health: watch::Receiver<Health>,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let ready = stopping.clone();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (metrics, ready) = (Arc::clone(&metrics), ready.clone());
                let health = health.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    let state = move || match &*health.borrow() {
                        _ if *ready.borrow() => State::Stopping,
                        Health::Good => State::Ready,
                        Health::Away | Health::Broken(_) => State::NoDatabase,
                    };
                    if timeout(TIME_MAX, converse(stream, metrics, state)).await.is_err() {
                        tracing::debug!("an HTTP connection lasted too long");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, metrics: Arc<dyn Source>, state: impl Fn() -> State) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = answer(request.method(), request.uri().path(), &*metrics, state());
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

fn answer(
    method: &Method,
    path: &str,
    metrics: &dyn Source,
    state: State,
) -> Response<Full<Bytes>> {
    let (status, text) = match (method, path) {
        (&Method::GET, "/metrics") => match metrics.text() {
            Ok(text) => {
                let mut response = Response::new(Full::from(text));
                response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
                return response;
            }
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        },
        (&Method::GET, "/live") => (StatusCode::OK, "live\n"),
        (&Method::GET, "/ready") => match state {
            State::Ready => (StatusCode::OK, "ready\n"),
            State::NoDatabase => {
                (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n")
            }
            State::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        },
        (&Method::GET, _) => (StatusCode::NOT_FOUND, "there are /metrics, /live and /ready\n"),
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn three_paths_are_answered() {
        let metrics = Metrics::new();
        let status = |method, path, state| answer(&method, path, &metrics, state).status();
        assert_eq!(status(Method::GET, "/metrics", State::Ready), 200);
        assert_eq!(status(Method::GET, "/live", State::NoDatabase), 200);
        assert_eq!(status(Method::GET, "/ready", State::Ready), 200);
        assert_eq!(status(Method::GET, "/ready", State::NoDatabase), 503);
        assert_eq!(status(Method::GET, "/ready", State::Stopping), 503);
        assert_eq!(status(Method::GET, "/", State::Ready), 404);
        assert_eq!(status(Method::POST, "/metrics", State::Ready), 405);
    }
}
