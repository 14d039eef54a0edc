//! The Highwater binary.
mod auth;
mod config;
mod mail;
mod tls;
fn install_crypto() { let _ = rustls::crypto::ring::default_provider().install_default(); }
fn main() {}
