---@meta spop
-- SPOP, the protocol between HAProxy's SPOE filter and its agents: the codec, and both sides of a connection without I/O.
--
-- What a peer sends never raises an error: functions that read it return nil, a text and an SPOP status. Mistakes of the
-- script raise an error.

--- For editors (lua-language-server) and for the pages of `make doc`; not to be loaded.
---@class spop what is no function
---@field _VERSION string the module's
---@field status table<string, integer> the status codes: NORMAL, IO_ERROR, TIMEOUT, FRAME_TOO_BIG, INVALID_FRAME, ...
---@field UNSET integer frame type: a further fragment
---@field HAPROXY_HELLO integer frame type
---@field HAPROXY_DISCONNECT integer frame type
---@field NOTIFY integer frame type
---@field AGENT_HELLO integer frame type
---@field AGENT_DISCONNECT integer frame type
---@field ACK integer frame type
---@field FIN integer frame flag: the frame is whole, or the last fragment
---@field ABORT integer frame flag: the sender gave it up
local spop = {}

--- What SPOP's types are in Lua: NULL nil; BOOL boolean; the four integer types integer (a UINT64 above 2^63-1 has the same
--- 64 bits, so it is negative); IPV4 and IPV6 the usual text; STRING and BINARY string. On LuaJIT an integer beyond 2^53 is
--- a typed value: `tostring` gives all its digits, and everything that takes an integer takes it.
---@alias spop.Plain nil|boolean|integer|string
--- What can be sent: a boolean goes as BOOL, an integer as INT64, a string as STRING, nil as NULL, a typed value as its type.
---@alias spop.Sendable spop.Plain|spop.Value
--- The types.
---@alias spop.TypeName "null"|"bool"|"int32"|"uint32"|"int64"|"uint64"|"ipv4"|"ipv6"|"string"|"binary"
--- Where a variable lives.
---@alias spop.Scope "proc"|"sess"|"txn"|"req"|"res"

---@class spop.Value a value of a certain type; `==` compares type and value, `tostring` gives the text
---@field type spop.TypeName its type
---@field value spop.Plain what it is in Lua

---@class spop.Action `{"set-var", scope, name, value}` or `{"unset-var", scope, name}`
---@field [1] "set-var"|"unset-var" what to do
---@field [2] spop.Scope the variable's scope
---@field [3] string the variable's name, to which HAProxy adds the engine's prefix
---@field [4]? spop.Sendable the value
---@field type? spop.TypeName the type of the value

---@class spop.Pair `{key, value}`
---@field [1] string the key
---@field [2]? spop.Sendable the value
---@field type? spop.TypeName the type of the value

--- The arguments of a message by name, the first of each; read only.
---@alias spop.Args table<string, spop.Plain>

---@class spop.Message a message of a NOTIFY
---@field name string its name
---@field args spop.Args its arguments by name
local Message = {}

--- The value of the first argument of that name, and its type; only nil if there is none.
---@param name string
---@return spop.Plain value
---@return spop.TypeName? type
function Message:arg(name) end

--- The values of several arguments.
---@param ... string
---@return spop.Plain ...
function Message:get(...) end

--- All arguments in order.
---@return spop.Pair[]
function Message:list() end

---@class spop.Frame a frame; the payload is read when it is asked for
---@field event? "notify"|"ack" if it is an event
---@field type integer NOTIFY, ACK, ...
---@field type_name? string its name, if it is known
---@field flags integer all of them
---@field fin boolean is FIN set?
---@field abort boolean is ABORT set?
---@field stream_id integer names the stream, chosen by HAProxy
---@field frame_id integer names the NOTIFY of the stream
---@field fragmented boolean a NOTIFY that came in fragments
---@field payload string the bytes behind the header
local Frame = {}

--- The messages of a NOTIFY. Never nil for an event of an agent.
---@return spop.Message[]? messages
---@return string? message
---@return integer? status
function Frame:messages() end

--- The first message of that name.
---@param name string
---@return spop.Message? message
---@return string? error
---@return integer? status
function Frame:message(name) end

--- The actions of an ACK. If they are malformed, `before` has those before the error, which HAProxy applies.
---@return spop.Action[]? actions
---@return string? message
---@return integer? status
---@return spop.Action[]? before
function Frame:actions() end

--- The pairs of a HELLO or DISCONNECT.
---@return spop.Pair[]? pairs
---@return string? message
---@return integer? status
function Frame:kv() end

---@class spop.Event what happened on a connection, beside NOTIFYs and ACKs
---@field event "hello"|"aborted"|"too-big"|"disconnect" what it is
---@field max_frame_size? integer of hello: what was agreed on
---@field capabilities? table<string, true> of hello: those that both sides have
---@field healthcheck? boolean of hello: HAProxy only checks the agent
---@field engine_id? string of hello: the same on all connections of an engine
---@field stream_id? integer of aborted and too-big
---@field frame_id? integer of aborted and too-big
---@field status? integer of disconnect
---@field message? string of disconnect

--- The length of the frame that `bytes` begins with, its 4-byte prefix included; nil alone: more bytes are needed.
---@param bytes string
---@param max? integer the largest frame that is accepted; default 1 MiB
---@return integer? length
---@return string? message
---@return integer? status
function spop.peek_len(bytes, max) end

--- A frame from its body, that is without the 4-byte length.
---@param body string
---@return spop.Frame? frame
---@return string? message
---@return integer? status
function spop.decode(body) end

--- A whole ACK. This and the other encoders return nil, a text and status 3 if it is longer than `max_frame_size` (default 16380).
---@param stream_id integer|spop.Value
---@param frame_id integer|spop.Value
---@param actions? spop.Action[]
---@param max_frame_size? integer
---@return string? frame
---@return string? message
---@return integer? status
function spop.encode_ack(stream_id, frame_id, actions, max_frame_size) end

--- A whole NOTIFY.
---@param stream_id integer|spop.Value
---@param frame_id integer|spop.Value
---@param messages table[] `{ {name, args}, ... }`; args: `{ key = value }`, or a list of pairs in order
---@param max_frame_size? integer
---@return string? frame
---@return string? message
---@return integer? status
function spop.encode_notify(stream_id, frame_id, messages, max_frame_size) end

--- A HELLO, of the agent by default.
---@param options {from?: "agent"|"haproxy", version?: string, max_frame_size?: integer, capabilities?: string, healthcheck?: boolean, engine_id?: string}
---@return string frame
function spop.encode_hello(options) end

--- A DISCONNECT, of the agent by default.
---@param status integer
---@param message? string default: the usual text of that status
---@param from? "agent"|"haproxy"
---@return string? frame
---@return string? error
---@return integer? too_big
function spop.encode_disconnect(status, message, from) end

--- Any frame, also a wrong one, to test a peer.
---@param type integer
---@param flags? integer default FIN
---@param stream_id integer|spop.Value
---@param frame_id integer|spop.Value
---@param payload string
---@param max_frame_size? integer
---@return string? frame
---@return string? message
---@return integer? status
function spop.encode_frame(type, flags, stream_id, frame_id, payload, max_frame_size) end

--- An INT32. This and the other integers take an integer, a typed value or a string of decimal digits.
---@param value integer|string|spop.Value
---@return spop.Value
function spop.int32(value) end
--- A UINT32.
---@param value integer|string|spop.Value
---@return spop.Value
function spop.uint32(value) end
--- An INT64.
---@param value integer|string|spop.Value
---@return spop.Value
function spop.int64(value) end
--- A UINT64.
---@param value integer|string|spop.Value a negative integer stands for the same 64 bits (not on LuaJIT)
---@return spop.Value
function spop.uint64(value) end
--- An IPV4, from its usual text.
---@param text string
---@return spop.Value
function spop.ipv4(text) end
--- An IPV6, from its usual text.
---@param text string
---@return spop.Value
function spop.ipv6(text) end
--- A BINARY.
---@param bytes string
---@return spop.Value
function spop.binary(bytes) end

--- The 4 or 16 bytes of an address; nil if the text is none.
---@param text string
---@return string? bytes
function spop.ip_bytes(text) end
--- The usual text of an address of 4 or 16 bytes.
---@param bytes string
---@return string text
function spop.ip_text(bytes) end

---@class spop.AgentOptions options of spop.agent
---@field max_frame_size? integer the largest frame, from 256; default 1048576, so that HAProxy's own size counts
---@field capabilities? string words out of pipelining, async, fragmentation; default "pipelining,fragmentation"
---@field reassembly? integer the most bytes of a fragmented NOTIFY; default 65536; 0: fragmentation is not announced
---@field max_fragments? integer the most fragments of one NOTIFY; default 4096
---@field hello_timeout? integer in ticks (see handle_timeout); default none
---@field half_frame_timeout? integer in ticks; default none
---@field idle_timeout? integer in ticks; default none

---@class spop.Agent the server's side of a connection, without I/O
local Agent = {}

--- A new connection of an agent.
---@param options? spop.AgentOptions
---@return spop.Agent
function spop.agent(options) end

--- How many bytes to read at least; 0 and "pause": first send output() and answer NOTIFYs; 0 and "close": send output(),
--- then close.
---@return integer bytes
---@return "pause"|"close"|nil why
function Agent:want() end

--- Takes bytes as they came. The events may be none; NOTIFYs are frames with `event == "notify"`, whose payload is well
--- formed. `more`: whole frames are left, feed("") goes on after the NOTIFYs were answered and output() was sent.
--- nil: the peer broke the protocol; send output(), then close.
---@param bytes string
---@return (spop.Event|spop.Frame)[]? events
---@return string|boolean more_or_message
---@return integer? status
function Agent:feed(bytes) end

--- Answers a NOTIFY. nil: it is not open any more, and nothing is sent; or, with status 3, the actions do not fit the
--- frame size, and the ACK went without any.
---@param notify spop.Frame
---@param actions? spop.Action[]
---@return true? sent
---@return string? message
---@return integer? status
function Agent:ack(notify, actions) end

--- Takes a NOTIFY over, to be answered by encode_ack() on another connection of the same engine_id. nil: `async` was not
--- agreed on, or it is not open any more. What is open when a connection ends needs no release.
--- Also to drop one: an event that HAProxy gave up (`timeout processing`) and the next one of its stream have the same ids,
--- perhaps on two connections of the engine. When the second arrives, the first must not be answered any more.
---@param notify spop.Frame
---@return integer|spop.Value|nil stream_id
---@return integer|spop.Value|string frame_id_or_message
function Agent:release(notify) end

--- The bytes to send now. Send them in one go: some HAProxys refuse an AGENT-HELLO in two segments.
---@return string bytes
function Agent:output() end

--- Ends the connection: with status 0 after the open NOTIFYs were answered, else at once.
---@param status? integer
function Agent:close(status) end

--- The transport ended; how many NOTIFYs were open.
---@return integer
function Agent:eof() end
--- How many NOTIFYs are open.
---@return integer open
function Agent:open() end
--- What was agreed on; nil before HELLO.
---@return spop.Event? hello what was agreed on
function Agent:negotiated() end
--- The counters.
---@return {notifies: integer, acks: integer, superseded: integer, cancelled: integer, aborted: integer, too_big: integer, fragments: integer, ignored: integer}
function Agent:stats() end
--- The tick at which handle_timeout is due.
---@return integer? tick
function Agent:poll_timeout() end
--- Tells the time in ticks of any unit since the connection began.
---@param now integer
---@return true? ok
---@return string? message
---@return integer? status
function Agent:handle_timeout(now) end

---@class spop.ClientOptions options of spop.client
---@field max_frame_size? integer the largest frame, from 256; default 16380
---@field capabilities? string words out of pipelining, async, fragmentation; default "pipelining"
---@field healthcheck? boolean ask for a health check only
---@field engine_id? string at most 64 bytes
---@field hello_timeout? integer in ticks; default none

---@class spop.Client HAProxy's side of a connection, without I/O; what is not described here is as in spop.Agent
local Client = {}

--- A new connection of a client.
---@param options? spop.ClientOptions
---@return spop.Client
function spop.client(options) end
--- How many bytes to read at least; 0 and "close": send output(), then close.
---@return integer bytes
---@return "close"|nil why
function Client:want() end
--- The events: hello, disconnect, and ACKs as frames with `event == "ack"`.
---@param bytes string
---@return (spop.Event|spop.Frame)[]? events
---@return string? message
---@return integer? status
function Client:feed(bytes) end
--- Adds a NOTIFY to the output, in fragments if it is too long for a frame and the agent takes them. Without ids the client
--- counts stream-ids from 1.
---@param messages table[] as in encode_notify
---@param stream_id? integer|spop.Value
---@param frame_id? integer|spop.Value
---@return integer? stream_id
---@return integer|string frame_id_or_message
---@return integer? status 3 if it is too long
function Client:notify(messages, stream_id, frame_id) end
--- Gives up waiting for an ACK; was it in flight?
---@param stream_id integer|spop.Value
---@param frame_id integer|spop.Value
---@return boolean
function Client:forget(stream_id, frame_id) end
--- The bytes to send now.
---@return string bytes
function Client:output() end
--- Ends the connection with a DISCONNECT.
---@param status? integer
function Client:close(status) end
--- The transport ended; how many NOTIFYs were in flight.
---@return integer in_flight
function Client:eof() end
--- How many NOTIFYs wait for their ACK.
---@return integer
function Client:in_flight() end
--- What was agreed on; nil before HELLO.
---@return spop.Event? hello
function Client:negotiated() end
--- The counters.
---@return {notifies: integer, acks: integer, ignored: integer}
function Client:stats() end
--- The tick at which handle_timeout is due.
---@return integer? tick
function Client:poll_timeout() end
--- Tells the time in ticks of any unit since the connection began.
---@param now integer
---@return true? ok
---@return string? message
---@return integer? status
function Client:handle_timeout(now) end

---@class spop.ServiceOptions: spop.AgentOptions options of spop.service: those of spop.agent but for its timeouts (a service has those
--- of its stream), and
---@field log? fun(line: string) gets each log line

---@class spop.ConnectOptions: spop.ClientOptions options of spop.client.connect: those of spop.client, and
---@field timeout? number seconds for connecting and for each question; default 1
---@field socket? table a connected socket with the methods of LuaSocket

return spop
