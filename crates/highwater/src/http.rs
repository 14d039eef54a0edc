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

/// Connections at once.
const CONNECTIONS_MAX: usize = 16;
/// How long one may last.
const TIME_MAX: Duration = Duration::from_secs(30);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What `/metrics` answers.
pub(crate) trait Source: Send + Sync + 'static {
    /// In OpenMetrics' text form.
    fn text(&self) -> Result<String, std::fmt::Error>;
}

/// Serves until the server stops.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<dyn Source>,
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
                tokio::spawn(async move {
                    let _permit = permit;
                    if timeout(TIME_MAX, converse(stream, metrics, ready)).await.is_err() {
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

async fn converse(stream: TcpStream, metrics: Arc<dyn Source>, stopping: watch::Receiver<bool>) {
    let service = service_fn(|request: Request<Incoming>| {
        let response =
            answer(request.method(), request.uri().path(), &*metrics, *stopping.borrow());
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
    stopping: bool,
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
        (&Method::GET, "/ready") if stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        (&Method::GET, "/ready") => (StatusCode::OK, "ready\n"),
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
        let status = |method, path, stopping| answer(&method, path, &metrics, stopping).status();
        assert_eq!(status(Method::GET, "/metrics", false), 200);
        assert_eq!(status(Method::GET, "/live", true), 200);
        assert_eq!(status(Method::GET, "/ready", false), 200);
        assert_eq!(status(Method::GET, "/ready", true), 503);
        assert_eq!(status(Method::GET, "/", false), 404);
        assert_eq!(status(Method::POST, "/metrics", false), 405);
    }
}
