//! Who may ask: tokens and passwords in files, compared in constant time.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use spop_agent::watched::{FileError, NamedFile, Watched};
use subtle::{Choice, ConstantTimeEq};

/// Tokens and passwords of an HTTP listener, of files that are read again when they change. A clone is another handle of the
/// same.
#[derive(Clone)]
pub struct Credentials(Arc<Watched<Known>>);

/// What is in the files.
#[derive(Default)]
struct Known {
    tokens: Vec<Vec<u8>>,
    /// `user:password`.
    users: Vec<Vec<u8>>,
    bearer: bool,
    basic: bool,
}

impl Credentials {
    /// Reads the files that are given: one with a token in each line, one with `user:password` in each line, and what their
    /// options are called. Empty lines and those that begin with `#` are comments. `None` if no file is given.
    ///
    /// # Errors
    /// A file cannot be read, has nothing in it, or a line without a password.
    pub fn load(
        token: Option<(&'static str, PathBuf)>,
        basic: Option<(&'static str, PathBuf)>,
    ) -> Result<Option<Self>, FileError> {
        let (has_tokens, has_users) = (token.is_some(), basic.is_some());
        let files: Vec<_> =
            [token, basic].into_iter().flatten().map(|(option, path)| NamedFile::new(option, path)).collect();
        if files.is_empty() {
            return Ok(None);
        }
        let named = files.clone();
        let make = move |contents: &[Vec<u8>]| {
            let mut known = Known { bearer: has_tokens, basic: has_users, ..Known::default() };
            let mut files = named.iter().zip(contents);
            if let Some((file, content)) = if has_tokens { files.next() } else { None } {
                known.tokens = lines(file, content, "a token", |line| !line.contains(&b' '))?;
            }
            if let Some((file, content)) = files.next() {
                let has_password = |line: &[u8]| line.iter().position(|&byte| byte == b':').is_some_and(|at| at > 0);
                known.users = lines(file, content, "user:password", has_password)?;
            }
            Ok(known)
        };
        Ok(Some(Self(Arc::new(Watched::load(files, make)?))))
    }

    /// Reads the files now; true if they changed.
    ///
    /// # Errors
    /// They cannot be used: what was read before stays in use.
    pub fn reload(&self) -> Result<bool, FileError> {
        self.0.reload()
    }

    /// Does a request have one of them? If not, the challenges for it.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Vec<&'static str>> {
        let known = self.0.current().await;
        let admitted = headers.get_all(AUTHORIZATION).into_iter().any(|value| known.admits(value.as_bytes()));
        if admitted { Ok(()) } else { Err(known.challenges()) }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Known {
    fn admits(&self, authorization: &[u8]) -> bool {
        let Some(at) = authorization.iter().position(|&byte| byte == b' ') else { return false };
        let (scheme, rest) = authorization.split_at(at);
        let given = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            is_among(given, &self.tokens)
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            BASE64_STANDARD.decode(given).is_ok_and(|given| is_among(&given, &self.users))
        } else {
            false
        }
    }

    fn challenges(&self) -> Vec<&'static str> {
        let bearer = self.bearer.then_some("Bearer realm=\"spoa-otel\"");
        bearer.into_iter().chain(self.basic.then_some("Basic realm=\"spoa-otel\", charset=\"UTF-8\"")).collect()
    }
}

/// All are looked at, and each to its end: the time tells no more than lengths.
fn is_among(given: &[u8], known: &[Vec<u8>]) -> bool {
    known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(given)).into()
}

fn lines(
    file: &NamedFile,
    content: &[u8],
    form: &str,
    is_form: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Vec<u8>>, FileError> {
    let mut found = Vec::new();
    for (number, line) in content.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if !is_form(line) {
            return Err(file.error(format!("line {} is not {form}", number + 1)));
        }
        found.push(line.to_owned());
    }
    if found.is_empty() {
        return Err(file.error(format!("there is no line with {form} in it")));
    }
    file.warn_if_readable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(token: Option<&str>, basic: Option<&str>) -> Result<Arc<Known>, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &'static str, content: Option<&str>| {
            content.map(|content| {
                std::fs::write(dir.path().join(name), content).unwrap();
                (name, dir.path().join(name))
            })
        };
        let loaded = Credentials::load(file("--token", token), file("--basic", basic));
        loaded.map(|credentials| credentials.unwrap().0.get()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_in_the_files_is_admitted() {
        let both = known(Some("# of Prometheus\nabc123\n\n  old \n"), Some("ann:pass word:x\nbob:\n")).unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (authorization, admitted) in [
            ("Bearer abc123".to_owned(), true),
            ("bearer  old".to_owned(), true),
            ("Bearer abc12".to_owned(), false),
            ("Bearer abc1234".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("Bearer".to_owned(), false),
            ("abc123".to_owned(), false),
            ("Bearer # of Prometheus".to_owned(), false),
            ("Bearer ann:pass word:x".to_owned(), false),
            (basic("ann:pass word:x"), true),
            (basic("bob:"), true),
            (basic("ann:pass word"), false),
            (basic("ann"), false),
            (basic("abc123"), false),
            (basic(""), false),
            ("Basic ann:pass word:x".to_owned(), false),
            ("Basic !!".to_owned(), false),
        ] {
            assert_eq!(both.admits(authorization.as_bytes()), admitted, "{authorization}");
        }
        assert_eq!(both.challenges().len(), 2);
        let token = known(Some("abc"), None).unwrap();
        assert!(token.admits(b"Bearer abc") && !token.admits(basic("a:b").as_bytes()));
        assert_eq!(token.challenges(), ["Bearer realm=\"spoa-otel\""]);
        let users = known(None, Some("a:b")).unwrap();
        assert!(users.admits(basic("a:b").as_bytes()) && !users.admits(b"Bearer a:b"));
        assert_eq!(users.challenges(), ["Basic realm=\"spoa-otel\", charset=\"UTF-8\""]);
        assert!(Credentials::load(None, None).unwrap().is_none());
    }

    /// The text of the error has nothing of the file.
    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        for (token, basic, said) in [
            (Some(""), None, "--token"),
            (Some("# nothing\n"), None, "no line with a token"),
            (Some("ok\nsecret token\n"), None, "line 2 is not a token"),
            (None, Some("secret"), "line 1 is not user:password"),
            (Some("ok"), Some("a:b\n:secret"), "--basic"),
        ] {
            let Err(error) = known(token, basic) else { panic!("{token:?} {basic:?}") };
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
    }
}
