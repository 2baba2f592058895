#!/usr/bin/env python3
"""Turns the golden vectors (JSON) into a C header: vectors.py DIRECTORY >vectors.h"""
import ipaddress
import json
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
arrays = {}  # bytes -> name of the C array
lines = []

KINDS = ["null", "bool", "int32", "uint32", "int64", "uint64", "ipv4", "ipv6", "string", "binary"]
SCOPES = ["process", "session", "transaction", "request", "response"]
CAPABILITIES = {"pipelining": 1, "async": 2, "fragmentation": 4}


def load(name):
    return json.loads((folder / f"{name}.json").read_text())


def raw(data):
    """A struct bytes."""
    if data not in arrays:
        arrays[data] = f"bytes_{len(arrays)}"
        numbers = ",".join(str(byte) for byte in data) or "0"
        lines.append(f"static const unsigned char {arrays[data]}[] = {{{numbers}}};")
    return f"{{{arrays[data]}, {len(data)}}}"


def text(value):
    """A C string literal; the ids and texts of the vectors are plain ASCII."""
    return json.dumps(value)


def typed(kind, value):
    """A struct typed."""
    number, data = 0, b""
    if kind == "string-bytes":
        kind, data = "string", bytes.fromhex(value)
    elif kind == "string":
        data = value.encode()
    elif kind == "binary":
        data = bytes.fromhex(value)
    elif kind in ("ipv4", "ipv6"):
        data = ipaddress.ip_address(value).packed
    elif kind == "bool":
        number = int(value)
    elif kind != "null":
        number = int(value) % 2**64
    return f"{{{KINDS.index(kind)}, {number}u, {raw(data)}}}"


NO_VALUE = "{0, 0u, {0, 0}}"


def items(payload):
    """The struct items of a payload, as one flat list, ended by what is all 0."""
    found = []
    if payload["kind"] == "kv":
        found = [f"{{'k', {raw(key.encode())}, 0, {typed(kind, value)}}}" for key, kind, value in payload["items"]]
    elif payload["kind"] == "messages":
        for message in payload["items"]:
            found.append(f"{{'m', {raw(message['name'].encode())}, {len(message['args'])}, {NO_VALUE}}}")
            found += [f"{{'a', {raw(key.encode())}, 0, {typed(kind, value)}}}" for key, kind, value in message["args"]]
    elif payload["kind"] == "actions":
        for action in payload["items"]:
            value = typed(*action["value"]) if "value" in action else NO_VALUE
            what = "s" if action["action"] == "set-var" else "u"
            found.append(f"{{'{what}', {raw(action['name'].encode())}, {SCOPES.index(action['scope'])}, {value}}}")
    name = f"items_{len(lines)}"
    lines.append(f"static const struct item {name}[] = {{{', '.join(found + ['{0, {0, 0}, 0, ' + NO_VALUE + '}'])}}};")
    return name


def table(struct, name, rows):
    if not rows:
        sys.exit(f"no vectors for {name}")
    body = ",\n    ".join(rows)
    lines.append(f"static const struct {struct} {name}[] = {{\n    {body}\n}};")


def hexed(entry):
    return raw(bytes.fromhex(entry["hex"]))


varint, typed_file = load("varint"), load("typed")
table("varint", "varint_valid", [f"{{{text(v['id'])}, {hexed(v)}, {v['value']}u}}" for v in varint["valid"]])
table("invalid", "varint_invalid", [f"{{{text(v['id'])}, {hexed(v)}, {int(v['outcome'] == 'incomplete')}}}" for v in varint["invalid"]])
for name in ("valid", "lenient"):
    table("value_vector", f"typed_{name}", [f"{{{text(v['id'])}, {hexed(v)}, {typed(v['kind'], v['value'])}}}" for v in typed_file[name]])
table("invalid", "typed_invalid", [f"{{{text(v['id'])}, {hexed(v)}, {int(v['outcome'] == 'incomplete')}}}" for v in typed_file["invalid"]])
table("frame", "frames_valid", [
    f"{{{text(v['id'])}, {hexed(v)}, {v['type']}, {v['flags']}u, {v['stream_id']}u, {v['frame_id']}u, "
    f"'{v['payload']['kind'][0]}', {items(v['payload'])}, {raw(bytes.fromhex(v['payload'].get('hex', '')))}}}"
    for v in load("frames_valid")])
table("faulty", "frames_invalid", [
    f"{{{text(v['id'])}, {hexed(v)}, {text(v['receiver'])}, {text(v['state'])}, {text(v['outcome'])}, "
    f"{-1 if v['status'] is None else v['status']}, {v.get('max_frame_size', 16380)}u}}"
    for v in load("frames_invalid")])
table("step", "sequences", [
    f"{{{text(s['id'])}, {int(first)}, {sum(CAPABILITIES[c] for c in s['agent_capabilities'])}, {hexed({'hex': step['rx']})}, "
    f"{text(step['expect'])}, {raw(bytes.fromhex(step.get('payload', '')))}, {int('payload' in step)}, {step.get('stream_id', 0)}u, "
    f"{step.get('frame_id', 0)}u, {-1 if step.get('status') is None else step['status']}, {step.get('count', 1)}, "
    f"{raw(bytes.fromhex(step.get('reply', '')))}}}"
    for s in load("sequences") for first, step in zip([1] + [0] * 99, s["steps"])])
grammar = load("grammar")
table("text_vector", "supported_versions", [f"{{{text(v['text'])}, {int(v['agent_replies'] is not None)}}}" for v in grammar["supported_versions"]])
table("text_vector", "agent_version", [f"{{{text(v['text'])}, {int(v['haproxy_3.1+'] == 'ok')}}}" for v in grammar["agent_version"]])
table("text_vector", "capabilities", [f"{{{text(v['text'])}, {sum(CAPABILITIES[c] for c in v['set'])}}}" for v in grammar["capabilities"]])
table("reference", "reference", [
    f"{{{text(v['id'])}, {hexed(v)}, {v['stream_id']}u, {v['frame_id']}u, {items({'kind': 'messages', 'items': v['messages']})}, "
    f"{SCOPES.index(v['ack']['scope'])}, {raw(v['ack']['name'].encode())}, {typed(v['ack']['type'], v['ack']['value'])}, {hexed(v['ack'])}}}"
    for v in load("reference")])
table("captured", "captured", [f"{{{text(v['id'])}, {text(v['kind'])}, {hexed(v)}}}" for v in load("captured")])
print("/* Made by vectors.py. */")
print("\n".join(lines))
