//! What is made of files that may change while the process runs: certificates, tokens. They are read again when somebody
//! asks for it, and when what is made of them is used, at most every [`INTERVAL`]. Their content tells whether they changed,
//! so files written in place, files moved over them and symbolic links that lead elsewhere (Kubernetes) are seen alike. A
//! change that cannot be used leaves in use what was read before.

use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// At most so often files are looked at because they are used.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// The largest file that is read.
const LARGEST: usize = 1 << 20;

/// A file, and the option that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedFile {
    /// The option, such as `--tls-cert`.
    pub option: &'static str,
    /// The path.
    pub path: PathBuf,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} {}: {reason}", file.option, file.path.display())]
#[non_exhaustive]
pub struct FileError {
    /// The file.
    pub file: NamedFile,
    /// Why.
    pub reason: String,
}

impl NamedFile {
    /// The file that an option names.
    pub fn new(option: &'static str, path: impl Into<PathBuf>) -> Self {
        Self { option, path: path.into() }
    }

    /// It cannot be used, for this reason.
    pub fn error(&self, reason: impl fmt::Display) -> FileError {
        FileError { file: self.clone(), reason: reason.to_string() }
    }

    /// Says in the log that everybody can read it, if so: what is in it should be secret.
    pub fn warn_if_readable(&self) {
        let mode = std::fs::metadata(&self.path).map(|meta| meta.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o004 != 0) {
            let (option, path) = (self.option, self.path.display());
            tracing::warn!(option, "everybody on this host can read this file, which is secret: chmod o= {path}");
        }
    }

    fn read(&self) -> Result<Vec<u8>, FileError> {
        let mut content = Vec::new();
        let read = File::open(&self.path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut content));
        match read {
            Ok(_) if content.len() > LARGEST => Err(self.error("larger than 1 MiB")),
            Ok(_) => Ok(content),
            Err(error) => Err(self.error(error)),
        }
    }
}

type Make<T> = Box<dyn Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync>;

/// What is made of some files, of their present content if it can be used.
pub struct Watched<T> {
    files: Vec<NamedFile>,
    make: Make<T>,
    current: RwLock<Arc<T>>,
    state: Mutex<State>,
    changes: AtomicU64,
    failures: AtomicU64,
}

struct State {
    checked: Instant,
    /// Of the content that is in use.
    hash: u64,
    /// Of content that could not be used, and why: it is not tried again, which would repeat all that is said of it.
    refused: Option<(u64, FileError)>,
    /// Why the present content is not in use.
    failed: Option<FileError>,
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Reads the files and makes something of their contents, which come in the same order.
    ///
    /// # Errors
    /// A file cannot be read, is larger than 1 MiB, or `make` refuses it.
    pub fn load(
        files: Vec<NamedFile>,
        make: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let contents = read(&files)?;
        let current = RwLock::new(Arc::new(make(&contents)?));
        let state = State { checked: Instant::now(), hash: hash(&contents), refused: None, failed: None };
        let (changes, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { files, make: Box::new(make), current, state: Mutex::new(state), changes, failures })
    }

    /// What is in use; nothing is read.
    pub fn get(&self) -> Arc<T> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is in use, after a look at the files if the last one was [`INTERVAL`] ago.
    pub async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.is_due() {
            let this = self.clone();
            // Files may hang. What is wrong with them was logged, and is told by `reload`.
            let _ = tokio::task::spawn_blocking(move || this.reload().is_ok()).await;
        }
        self.get()
    }

    /// True for one of those who ask at once.
    fn is_due(&self) -> bool {
        let Ok(mut state) = self.state.try_lock() else { return false };
        let is_due = state.checked.elapsed() >= INTERVAL;
        if is_due {
            state.checked = Instant::now();
        }
        is_due
    }

    /// Reads the files now; true if they changed. Each change is logged and counted, and so is one that cannot be used.
    ///
    /// # Errors
    /// The files cannot be used: what was read before stays in use.
    pub fn reload(&self) -> Result<bool, FileError> {
        let mut state = self.lock();
        state.checked = Instant::now();
        let made = read(&self.files).and_then(|contents| {
            let hash = hash(&contents);
            if hash == state.hash {
                return Ok(None);
            }
            if let Some((_, error)) = state.refused.as_ref().filter(|(refused, _)| *refused == hash) {
                return Err(error.clone());
            }
            let made = (self.make)(&contents);
            state.refused = made.as_ref().err().map(|error| (hash, error.clone()));
            made.map(|made| Some((hash, made)))
        });
        match made {
            Ok(made) => {
                state.failed = None;
                let Some((hash, made)) = made else { return Ok(false) };
                state.hash = hash;
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
                self.changes.fetch_add(1, Relaxed);
                tracing::info!(files = self.names(), "files changed and were read again");
                Ok(true)
            }
            Err(error) => {
                if state.failed.as_ref() != Some(&error) {
                    self.failures.fetch_add(1, Relaxed);
                    tracing::error!(%error, "a changed file cannot be used: what was read before stays in use");
                    state.failed = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    /// How often other content was taken into use.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// How often other content was found that cannot be used.
    pub fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    fn names(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|file| file.path.display().to_string()).collect();
        names.join(", ")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(files: &[NamedFile]) -> Result<Vec<Vec<u8>>, FileError> {
    files.iter().map(NamedFile::read).collect()
}

fn hash(contents: &[Vec<u8>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(path: &std::path::Path) -> Watched<u64> {
        let file = NamedFile::new("--number", path);
        Watched::load(vec![file.clone()], move |contents| {
            let text = String::from_utf8_lossy(&contents[0]);
            text.trim().parse().map_err(|error| file.error(error))
        })
        .unwrap()
    }

    #[test]
    fn what_cannot_be_used_leaves_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let watched = number(&path);
        assert_eq!(watched.reload(), Ok(false));
        std::fs::write(&path, "2").unwrap();
        assert_eq!((*watched.get(), watched.reload(), *watched.get()), (1, Ok(true), 2));
        std::fs::write(&path, "two").unwrap();
        for _ in 0..2 {
            let error = watched.reload().unwrap_err().to_string();
            assert_eq!(error, format!("--number {}: invalid digit found in string", path.display()));
        }
        std::fs::remove_file(&path).unwrap();
        assert!(watched.reload().unwrap_err().to_string().contains("No such file"));
        std::fs::write(&path, vec![b'1'; LARGEST + 1]).unwrap();
        assert!(watched.reload().unwrap_err().to_string().contains("larger than 1 MiB"));
        assert_eq!((*watched.get(), watched.changes(), watched.failures()), (2, 1, 3));
        // What is in use already is no change.
        std::fs::write(&path, "2").unwrap();
        assert_eq!(watched.reload(), Ok(false));
    }

    #[test]
    fn what_was_refused_is_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        let tried = Arc::new(Mutex::new(Vec::new()));
        let (file, tries) = (NamedFile::new("--text", &path), tried.clone());
        std::fs::write(&path, "good").unwrap();
        let make = move |contents: &[Vec<u8>]| {
            let text = String::from_utf8(contents[0].clone()).unwrap();
            tries.lock().unwrap().push(text.clone());
            if text.starts_with("bad") { Err(file.error("bad")) } else { Ok(text) }
        };
        let watched = Watched::load(vec![NamedFile::new("--text", &path)], make).unwrap();
        for content in ["bad", "bad", "good", "bad 2", "bad 2", "bad", "better"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(watched.reload().is_err(), content.starts_with("bad"), "{content}");
        }
        assert_eq!(*tried.lock().unwrap(), ["good", "bad", "bad 2", "bad", "better"]);
    }

    /// As the kubelet does it: the names stay, what they lead to is exchanged.
    #[tokio::test]
    async fn an_exchanged_symbolic_link_is_seen_in_use() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, content) in [("v1", "1"), ("v2", "2")] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("number"), content).unwrap();
        }
        symlink("v1", at("..data")).unwrap();
        symlink("..data/number", at("number")).unwrap();
        let watched = Arc::new(number(&at("number")));
        symlink("v2", at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(*watched.current().await, 1, "not looked at so soon");
        watched.lock().checked -= INTERVAL;
        assert_eq!((*watched.current().await, watched.changes()), (2, 1));
    }
}
