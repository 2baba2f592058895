# shellcheck shell=bash
# Of devenv/demo --backends: starts those that are here. What is missing is told.

# ready URL: answers.
ready() { curl -sf -m 2 -o /dev/null "$1"; }

# start_traces: Jaeger, and the Collector in front of it; $TRACES_TO is where spoa-otel is to send, if anybody takes it.
start_traces() {
    TRACES_TO=''
    local grpc http health other
    if [ -n "${SPOP_JAEGER:-}" ]; then
        say "starting Jaeger"
        grpc=$(free_address) http=$(free_address)
        start jaeger env JAEGER_QUERY_ADDRESS="$JAEGER_ADDRESS" JAEGER_QUERY_GRPC_ADDRESS="$(free_address)" JAEGER_OTLP_GRPC_ADDRESS="$grpc" \
            JAEGER_OTLP_HTTP_ADDRESS="$http" "$SPOP_JAEGER" --config "$DEVENV/backends.d/jaeger.yaml"
        must_become_ready ready "http://$(reach "$JAEGER_ADDRESS")/api/services"
        TRACES_TO=http://$http
    else
        say "Jaeger is not here: devenv/backends jaeger"
    fi
    if [ -n "${SPOP_COLLECTOR:-}" ]; then
        say "starting the Collector, with agent/collector/plain.yaml"
        health=$(free_address) other=$(free_address)
        local configs=(--config "$REPO/agent/collector/plain.yaml" --config 'yaml:service: {telemetry: {metrics: {level: none}}}')
        # Without Jaeger it tells what it gets in its log; an exporter that is not used wants an address all the same.
        [ -n "$TRACES_TO" ] || configs+=(--config 'yaml:{exporters: {debug: {verbosity: detailed}}, service: {pipelines: {traces: {exporters: [debug]}}}}')
        start collector env OTLP_LISTEN="${COLLECTOR_ADDRESS%:*}" OTLP_HTTP_PORT="${COLLECTOR_ADDRESS##*:}" OTLP_GRPC_PORT="${other##*:}" \
            HEALTH_PORT="${health##*:}" JAEGER_ENDPOINT="${grpc:-127.0.0.1:4317}" "$SPOP_COLLECTOR" "${configs[@]}"
        must_become_ready listens "$COLLECTOR_ADDRESS"
        TRACES_TO=http://$(reach "$COLLECTOR_ADDRESS")
    else
        say "the Collector is not here: devenv/backends collector"
    fi
}

# start_prometheus: with the rules of spoa-otel.
start_prometheus() {
    if [ -z "${SPOP_PROMETHEUS:-}" ]; then
        say "Prometheus is not here: devenv/backends prometheus"
        return
    fi
    say "starting Prometheus, with agent/monitoring/rules.yml"
    cat >"$TMP/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 5s}
rule_files: ["$REPO/agent/monitoring/rules.yml"]
scrape_configs:
  - job_name: spoa-otel
    static_configs: [{targets: ["$(reach "$ADMIN_ADDRESS")"]}]
YAML
    start prometheus "$SPOP_PROMETHEUS" --config.file "$TMP/prometheus.yml" --storage.tsdb.path "$TMP/prometheus" \
        --web.listen-address "$PROMETHEUS_ADDRESS" --enable-feature=exemplar-storage
    must_become_ready ready "http://$(reach "$PROMETHEUS_ADDRESS")/-/ready"
}

# backends_have ID: Jaeger has a trace of all three services, and Prometheus has figures of spoa-otel.
backends_have() {
    local service trace
    if [ -n "${SPOP_JAEGER:-}" ]; then
        trace=$(curl -sf "http://$(reach "$JAEGER_ADDRESS")/api/v3/traces/$1") || return 1
        for service in haproxy-1 haproxy-2 fake-server; do
            [[ $trace == *"\"$service\""* ]] || return 1
        done
    fi
    [ -z "${SPOP_PROMETHEUS:-}" ] ||
        curl -sf --data-urlencode 'query=spoa_build_info' "http://$(reach "$PROMETHEUS_ADDRESS")/api/v1/query" | grep -q '"spoa-otel"'
}

# backends_told: lines for the user.
backends_told() {
    local told=()
    [ -z "${SPOP_COLLECTOR:-}" ] || told+=("  The Collector: http://$(reach "$COLLECTOR_ADDRESS") takes OTLP")
    [ -z "${SPOP_JAEGER:-}" ] || told+=("  Jaeger: http://$(reach "$JAEGER_ADDRESS")/api/traces?service=haproxy-1 (a build without pages; all APIs are there)")
    [ -z "${SPOP_PROMETHEUS:-}" ] || told+=("  Prometheus: http://$(reach "$PROMETHEUS_ADDRESS")/api/v1/rules and /api/v1/query?query=spoa_spans_started_total (its pages are there if its package is installed)")
    printf '%s\n' "${told[@]}"
}
