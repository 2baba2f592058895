//! Hosts, each a network namespace, at a bridge; what happens on their links can be chosen.

use std::process::Command;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use super::wire::{self, Wire};

/// What makes links bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// `tc netem` on both ends of a veth pair.
    Netem,
    /// For kernels that have no netem.
    Wires,
}

impl Links {
    /// What this kernel has, or why it has nothing.
    pub fn of_this_kernel() -> Result<Self, String> {
        // Names of namespaces are files; these are for nobody else.
        attempt("mount -t tmpfs -o mode=755 tmpfs /run")?;
        attempt("ip netns add probe")?;
        attempt("ip link add probe type bridge")?;
        attempt("ip link del probe")?;
        let netem = attempt("ip -n probe link add eth0 type veth peer name eth1")
            .and_then(|()| attempt("tc -n probe qdisc add dev eth0 root netem delay 1ms loss 1%"));
        attempt("ip netns del probe")?;
        match netem {
            Ok(()) => Ok(Links::Netem),
            Err(netem) => match wire::interface("probe") {
                Ok(_) => Ok(Links::Wires),
                Err(tun) => Err(format!("{netem}; /dev/net/tun: {tun}")),
            },
        }
    }
}

fn attempt(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).output().map_err(|error| format!("{line}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| format!("{line}: {}", said.trim().replace('\n', "; ")))
}

#[track_caller]
fn run(line: &str) {
    attempt(line).unwrap_or_else(|why| panic!("{why}"));
}

/// A bridge and what is connected to it. Nothing of it has an address outside of the hosts.
pub struct Network {
    name: String,
    links: Links,
    hosts: u8,
}

impl Network {
    /// The name: three letters at most.
    pub fn new(name: &str, links: Links) -> Self {
        run(&format!("ip link add {name} type bridge"));
        run(&format!("ip link set {name} up"));
        Network { name: name.to_owned(), links, hosts: 0 }
    }

    pub async fn host(&mut self, name: &str) -> Host {
        self.hosts += 1;
        let (bridge, number) = (&self.name, self.hosts);
        let (namespace, port) = (format!("{bridge}-{name}"), format!("{bridge}-{number}"));
        let ip = format!("10.0.0.{number}");
        run(&format!("ip netns add {namespace}"));
        let runtime = runtime_in(&namespace);
        let wire = match self.links {
            Links::Netem => {
                run(&format!("ip link add {port} type veth peer name eth0 netns {namespace}"));
                None
            }
            Links::Wires => {
                let inside = runtime.spawn(async { wire::interface("eth0") }).await.unwrap();
                Some(Wire::between([wire::interface(&port).unwrap(), inside.unwrap()], number.into()))
            }
        };
        run(&format!("ip link set {port} master {bridge} up"));
        run(&format!("ip -n {namespace} link set lo up"));
        run(&format!("ip -n {namespace} address add {ip}/24 dev eth0"));
        run(&format!("ip -n {namespace} link set eth0 up"));
        Host { ip, namespace, port, wire, runtime: Some(runtime) }
    }
}

/// All its threads are in the namespace, and so is what they start.
fn runtime_in(namespace: &str) -> Runtime {
    let path = format!("/run/netns/{namespace}");
    let namespace = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let enter = move || {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        if let Err(error) = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
            // Nothing is to run in another one; a panic here would end the thread alone.
            eprintln!("{path}: {error}");
            std::process::exit(1);
        }
    };
    Builder::new_multi_thread().worker_threads(1).enable_all().on_thread_start(enter).build().unwrap()
}

pub struct Host {
    pub ip: String,
    namespace: String,
    /// Its link's end at the bridge.
    port: String,
    wire: Option<Wire>,
    runtime: Option<Runtime>,
}

impl Host {
    /// Runs this on the host.
    pub async fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.as_ref().unwrap().spawn(what).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// From now on its link delays and loses so, in each direction.
    pub fn link_is(&self, delay: Duration, loss_per_mille: u32) {
        if let Some(wire) = &self.wire {
            return wire.set(delay, loss_per_mille);
        }
        let (us, percent) = (delay.as_micros(), f64::from(loss_per_mille) / 10.0);
        let netem = format!("root netem delay {us}us loss {percent}%");
        run(&format!("tc qdisc replace dev {} {netem}", self.port));
        run(&format!("tc -n {} qdisc replace dev eth0 {netem}", self.namespace));
    }

    /// Pulls its plug, or puts it in again.
    pub fn is_plugged(&self, plugged: bool) {
        run(&format!("ip link set {} {}", self.port, if plugged { "up" } else { "down" }));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Within another runtime nothing may wait for its end.
        self.runtime.take().unwrap().shutdown_background();
    }
}
