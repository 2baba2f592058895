//! The HTTP client of the tests.

/// Nothing of the environment, no proxy: the tests talk to 127.0.0.1 only.
pub fn http_client() -> reqwest::Client {
    // reqwest wants a provider even for plain HTTP; a second call finds the first one's.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
