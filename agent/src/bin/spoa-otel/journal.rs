//! The journal of systemd as the reader of standard error: it knows when a line came, and reads from its beginning how grave
//! it is.

use std::env;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, format};
use tracing_subscriber::registry::LookupSpan;

/// The device and the inode of what systemd made standard error, as `DEVICE:INODE`. It may be another's by now.
const VARIABLE: &str = "JOURNAL_STREAM";

/// Does the journal read standard error?
pub fn reads_stderr() -> bool {
    let own = || File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok();
    let told = env::var(VARIABLE).ok();
    told.is_some_and(|told| own().is_some_and(|own| told == format!("{}:{}", own.dev(), own.ino())))
}

/// Lines for people behind a priority of syslog.
pub struct Lines(Format<Full, ()>);

impl Lines {
    pub fn new() -> Self {
        Self(format().without_time().with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(ctx, writer, event)
    }
}
