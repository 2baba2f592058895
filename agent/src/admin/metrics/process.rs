//! The process's own figures, under the names that all of Prometheus's clients use.

use std::fmt;

use procfs::process::{LimitValue, Process as Proc};
use procfs::{ProcResult, WithCurrentSystemInfo};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::families::Families;

/// This process.
#[derive(Debug)]
pub(super) struct Process;

struct Figures {
    cpu_seconds: f64,
    start_time_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    open_fds: u64,
    max_fds: Option<u64>,
}

impl Figures {
    fn read() -> ProcResult<Self> {
        let process = Proc::myself()?;
        let stat = process.stat()?;
        let ticks = procfs::ticks_per_second() as f64;
        Ok(Figures {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            start_time_seconds: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
            resident_bytes: stat.rss_bytes().get(),
            virtual_bytes: stat.vsize,
            threads: u64::try_from(stat.num_threads).unwrap_or_default(),
            open_fds: process.fd_count()? as u64,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            },
        })
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Where /proc is hidden, these are missing and the rest is there.
        let Ok(figures) = Figures::read() else { return Ok(()) };
        let mut f = Families::new(encoder);
        f.counter("process_cpu_seconds", "User and system CPU time spent.", figures.cpu_seconds)?;
        f.gauge("process_start_time_seconds", "Start of the process since the epoch.", figures.start_time_seconds)?;
        f.gauge("process_resident_memory_bytes", "Resident memory.", figures.resident_bytes)?;
        f.gauge("process_virtual_memory_bytes", "Virtual memory.", figures.virtual_bytes)?;
        f.gauge("process_threads", "Threads.", figures.threads)?;
        f.gauge("process_open_fds", "Open file descriptors.", figures.open_fds)?;
        match figures.max_fds {
            Some(limit) => f.gauge("process_max_fds", "Most open file descriptors.", limit),
            None => Ok(()),
        }
    }
}
