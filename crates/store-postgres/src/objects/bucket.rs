//! An object store as it is named: `s3://BUCKET[/PREFIX]`, or a directory, `file:///DIR`.
//!
//! # Invariants
//! - An object that was put is durable: S3 has acknowledged it; a file and its directory are synced [H1].
//! - Nothing is waited for longer than [`PATIENCE`], retries included.

use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, ObjectStore, ObjectStoreExt as _,
    PutPayload, RetryConfig,
};
use store::engine::EngineError;
use tokio::time::timeout;

use crate::error::{OpenError, chain};

/// How long one object may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An object store, and where in it.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// As it was named, in the one form that is remembered.
    pub(crate) address: String,
    /// Where its files are, when it is a directory.
    files: Option<PathBuf>,
}

/// Why an object could not be had or put.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It is not there.
    Missing,
    /// It may be there, or may be put, another time.
    Unavailable(String),
}

impl Bucket {
    /// Reads the address. Nothing is asked of the store yet.
    pub(crate) fn parse(address: &str) -> Result<Self, OpenError> {
        let form = || {
            OpenError::BodiesUrl(format!(
                "`{address}` is no place for bodies: s3://BUCKET, s3://BUCKET/PREFIX or file:///DIRECTORY"
            ))
        };
        if let Some(directory) = address.strip_prefix("file://") {
            let directory = directory.trim_end_matches('/');
            return if directory.starts_with('/') { Self::files(directory) } else { Err(form()) };
        }
        let rest = address.strip_prefix("s3://").ok_or_else(form)?.trim_end_matches('/');
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        if bucket.is_empty() || !bucket.bytes().all(is_name) {
            return Err(form());
        }
        let prefix = Path::parse(prefix).map_err(|_| form())?;
        Self::s3(bucket, prefix, format!("s3://{rest}"))
    }

    fn files(directory: &str) -> Result<Self, OpenError> {
        let address = format!("file://{directory}");
        let failed = |why: String| OpenError::Bodies { place: address.clone(), why };
        std::fs::create_dir_all(directory).map_err(|error| {
            failed(format!("{error}: make the directory, and let this user write there"))
        })?;
        let store = LocalFileSystem::new_with_prefix(directory)
            .map_err(|error| failed(error.to_string()))?
            .with_fsync(true);
        let (store, prefix) = (Arc::new(store), Path::default());
        Ok(Self { store, prefix, files: Some(PathBuf::from(directory)), address })
    }

    fn s3(bucket: &str, prefix: Path, address: String) -> Result<Self, OpenError> {
        // Whose TLS the requests are made with; somebody else may have said the same before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 5,
            retry_timeout: Duration::from_secs(10),
        };
        let option = |key| AmazonS3ConfigKey::Client(key);
        let builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_config(option(ClientConfigKey::ConnectTimeout), "3 seconds")
            .with_config(option(ClientConfigKey::Timeout), "15 seconds")
            .with_retry(retry);
        let store = builder.build().map_err(|error| OpenError::Bodies {
            place: address.clone(),
            why: format!("{error}: see docs/cluster.md for the AWS_* variables"),
        })?;
        Ok(Self { store: Arc::new(store), prefix, address, files: None })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Puts an object; it is durable then.
    pub(crate) async fn put(&self, name: &str, octets: Vec<u8>) -> Result<(), Failed> {
        let path = self.path(name);
        within(self.store.put(&path, PutPayload::from(octets))).await.map(drop)
    }

    /// All of a small object.
    pub(crate) async fn get(&self, name: &str) -> Result<Vec<u8>, Failed> {
        let path = self.path(name);
        let all = async { self.store.get(&path).await?.bytes().await };
        within(all).await.map(|octets| octets.to_vec())
    }

    /// A part of an object, which is missing when the object does not go so far.
    pub(crate) async fn get_part(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, Failed> {
        let path = self.path(name);
        let (options, wanted) =
            (GetOptions::new().with_range(Some(range.clone())), range.end - range.start);
        let part = async { self.store.get_opts(&path, options).await?.bytes().await };
        match within(part).await {
            Ok(octets) if octets.len() as u64 == wanted => Ok(octets.to_vec()),
            Ok(_) => Err(Failed::Missing),
            Err(Failed::Missing) => Err(Failed::Missing),
            // A part that is not there is refused in as many ways as there are servers: the length decides.
            Err(failed) => match within(self.store.head(&path)).await {
                Ok(found) if found.size < range.end => Err(Failed::Missing),
                _ => Err(failed),
            },
        }
    }

    pub(crate) async fn exists(&self, name: &str) -> Result<bool, Failed> {
        match within(self.store.head(&self.path(name))).await {
            Ok(_) => Ok(true),
            Err(Failed::Missing) => Ok(false),
            Err(failed) => Err(failed),
        }
    }

    /// Removes an object, if it is there, and what a crash left of one that was to be put.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Failed> {
        match within(self.store.delete(&self.path(name))).await {
            Ok(()) | Err(Failed::Missing) => {}
            Err(failed) => return Err(failed),
        }
        let left_over = |directory: &PathBuf| {
            let files = (1..).map(|attempt| directory.join(format!("{name}#{attempt}")));
            files.take_while(|file| std::fs::remove_file(file).is_ok()).count()
        };
        self.files.as_ref().map(left_over);
        Ok(())
    }
}

/// What comes of it, or of waiting too long for it.
async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(Failed::from),
        Err(_) => Err(Failed::Unavailable("it does not answer within 20 seconds".into())),
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let said = said(&error);
        match error {
            _ if said.contains("NoSuchBucket") => {
                Self::Unavailable("there is no such bucket: make it".into())
            }
            Error::NotFound { .. } => Self::Missing,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Self::Unavailable(format!(
                    "it refuses the key: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights of the key ({said})"
                ))
            }
            _ => Self::Unavailable(said),
        }
    }
}

/// An error and what it comes from, on one line.
fn said(error: &Error) -> String {
    chain(error).split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Failed {
    /// As the engine says it, of something that must be there.
    pub(crate) fn into_engine(self, bucket: &Bucket, name: &str) -> EngineError {
        match self {
            Self::Missing => EngineError::Damaged(format!(
                "the body {name} is not whole in {}: restore it there",
                bucket.address
            )),
            Self::Unavailable(why) => {
                EngineError::Unavailable(format!("message bodies at {}: {why}", bucket.address))
            }
        }
    }
}
