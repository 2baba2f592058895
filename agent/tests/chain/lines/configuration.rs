//! The shipped configurations, with what the cases need beside them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{Mode, Setup};
use crate::setup::conf;

/// A configuration, in this folder.
pub fn write(setup: Setup<'_>, folder: &Path) -> PathBuf {
    let shipped = if setup.mode == Mode::LogOnly { "haproxy-log-only.cfg" } else { "haproxy-lean.cfg" };
    let shipped = std::fs::read_to_string(conf(shipped)).unwrap();
    let path = folder.join("haproxy.cfg");
    std::fs::write(folder.join("hello.lua"), LUA).unwrap();
    std::fs::write(folder.join("tls.pem"), CERTIFICATE.as_str()).unwrap();
    let text = with_cases(&shipped).replace("FOLDER", folder.to_str().unwrap());
    let text = match setup.edit {
        Some(edit) => edit(text),
        None => text,
    };
    std::fs::write(&path, text).unwrap();
    path
}

/// With the timeouts that are shipped: those of the cases are too short for clients of a busy machine.
pub fn patient(text: String) -> String {
    let short = "    timeout http-request 900ms\n    timeout client 1s\n";
    assert_eq!(text.matches(short).count(), 1);
    text.replace(short, "")
}

/// Its own rules come where the shipped file says so.
fn with_cases(shipped: &str) -> String {
    let own = "    # From here on your own rules.\n    http-request deny deny_status 403 if { path /denied }\n    default_backend servers\n";
    let t0 = "    tcp-request content set-var(txn.otel.t0) date(0,us)\n";
    let bind = "    bind \"${LISTEN_ADDRESS}\"\n";
    for part in [own, t0, bind] {
        assert_eq!(shipped.matches(part).count(), 1, "{part}");
    }
    let global = shipped.replacen("global\n", &format!("global\n{GLOBAL}"), 1);
    let (before, rest) = global.split_once("frontend traced from http\n").unwrap();
    let (frontend, after) = rest.split_once(own).unwrap();
    let frontend = frontend.replace(t0, &format!("{t0}{TCP_RULES}"));
    let listen = frontend.replace(bind, "    bind \"${LISTEN_SECTION_ADDRESS}\"\n");
    let frontend = frontend.replace(bind, &format!("{bind}{BINDS}"));
    format!(
        "{before}frontend traced from http\n{frontend}{RULES}\nlisten whole from http\n{listen}    server s1 \"${{SERVER_ADDRESS}}\"\n\n\
         {after}\n{BACKENDS}{TCP_MODE}"
    )
}

/// Made once: unoptimized it takes its time on a busy machine, and what else a test has under way waits for it.
static CERTIFICATE: LazyLock<String> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    made.cert.pem() + &made.signing_key.serialize_pem()
});

const LUA: &str = r#"
core.register_service("hello", "http", function(applet)
    applet:set_status(200)
    applet:add_header("content-length", "2")
    applet:start_response()
    applet:send("ok")
end)
"#;

const GLOBAL: &str = "    lua-load FOLDER/hello.lua\n";

const BINDS: &str = r#"    bind "${H2_ADDRESS}" proto h2
    bind "${TLS_ADDRESS}" ssl crt FOLDER/tls.pem
    timeout http-request 900ms
    timeout client 1s
    monitor-uri /monitor
"#;

const TCP_RULES: &str = "    tcp-request content reject if { path /tcp-reject }\n";

const RULES: &str = r#"
    http-request deny deny_status 403 if { path /denied }
    http-request redirect location /there if { path /redirect }
    http-request return status 200 content-type text/plain string ok if { path /return }
    http-request reject if { path /reject }
    http-request silent-drop if { path /silent-drop }
    http-request use-service lua.hello if { path /lua }
    http-request use-service prometheus-exporter if { path /prometheus }
    http-request wait-for-body time 300ms if { path /wait-for-body }
    http-request set-var(txn.otel.route) str(/orders/{id}) if { path_beg /orders/ }
    use_backend %[path,field(2,/)] if { path -m reg ^/[a-z-]+/[a-z-]+ } !{ path_beg /orders/ }
    use_backend %[path,field(2,/)] if { path -m reg ^/(refuse|none|full|queue|deny|stats|cache)$ }
    default_backend servers
"#;

const BACKENDS: &str = r#"
backend deny from http
    http-request deny deny_status 429

backend refuse from http
    retries 2
    server s1 "${NOBODY}"

backend none from http

backend full from http
    timeout connect 300ms
    retries 0
    server s1 "${FULL}"

backend queue from http
    timeout queue 400ms
    server s1 "${SERVER_ADDRESS}" maxconn 1

backend short from http
    timeout server 400ms
    server s1 "${SERVER_ADDRESS}"

backend abort from http
    option abortonclose
    server s1 "${SERVER_ADDRESS}"

backend unmoved from http
    no option abortonclose
    server s1 "${SERVER_ADDRESS}"

backend teapot from http
    http-response return status 200 content-type text/plain string ok
    server s1 "${SERVER_ADDRESS}"

backend retry from http
    retries 2
    retry-on 503
    server s1 "${SERVER_ADDRESS}"

backend redispatch from http
    balance first
    option redispatch 1
    retries 3
    server s1 "${NOBODY}"
    server s2 "${SERVER_ADDRESS}"

backend cache from http
    http-request cache-use small
    http-response cache-store small
    server s1 "${SERVER_ADDRESS}"

cache small
    total-max-size 4
    max-age 60

backend stats from http
    stats enable
    stats uri /stats
"#;

const TCP_MODE: &str = r#"
defaults tcp
    mode tcp
    log global
    option tcplog
    timeout connect 2s
    timeout client  1s
    timeout server  1s

frontend stream from tcp
    bind "${TCP_ADDRESS}"
    tcp-request content set-var(txn.otel.t0) date(0,us)
    tcp-request content set-var(txn.otel.trace) uuid,regsub(-,,g)
    tcp-request content set-var-fmt(txn.otel.ctx) %[var(txn.otel.trace)]-%[uuid,xxh3,hex,lower]-%[uuid,xxh3,hex,lower]--03
    log-format-sd '[otel@32473 v="1" svc="'"${SERVICE_NAME}"'" c="%[var(txn.otel.ctx)]" n="%lc" a="%Ts.%ms" t0="%[var(txn.otel.t0)]" e="%[date(0,us)]" Th="%Th" Tw="%Tw" Tc="%Tc" Td="%Td" Tt="%Tt" ts="%ts" rc="%rc" f="%f" b="%b" s="%s" ci="%ci" cp="%cp" fi="%fi" fp="%fp" si="%si" sp="%sp" U="%U" B="%B" z="1"]'
    default_backend stream-servers

backend stream-servers from tcp
    server s1 "${SERVER_ADDRESS}"
"#;
