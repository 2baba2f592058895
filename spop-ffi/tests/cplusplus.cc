// The header in a C++11 program: an agent that answers one NOTIFY in memory.
#include <spop.h>

#include <cstdio>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

static_assert(std::is_trivial<spop_event>::value && std::is_standard_layout<spop_value>::value, "plain structs");

struct Freed {
    void operator()(void *memory) const { ::operator delete(memory); }
};

static std::string notify()
{
    std::vector<char> out(256);
    spop_writer writer;
    spop_value ip = spop_ipv4("\300\0\2\21");
    size_t len = 0;
    if (spop_notify_begin_ids(5, 7, 16380, out.data(), out.size(), &writer) != SPOP_OK ||
        spop_notify_message(&writer, SPOP_LIT("check-client-ip")) != SPOP_OK ||
        spop_notify_arg(&writer, SPOP_LIT("ip"), &ip) != SPOP_OK || spop_notify_finish(&writer, &len) != SPOP_OK)
        return "";
    return std::string(out.data(), len);
}

static std::string hello()
{
    std::vector<char> out(256);
    spop_writer writer;
    size_t len = 0;
    if (spop_hello_begin(SPOP_FRAME_HAPROXY_HELLO, 16380, out.data(), out.size(), &writer) != SPOP_OK ||
        spop_hello_version(&writer, 2, 0) != SPOP_OK || spop_hello_max_frame_size(&writer, 16380) != SPOP_OK ||
        spop_hello_capabilities(&writer, 0) != SPOP_OK || spop_hello_finish(&writer, &len) != SPOP_OK)
        return "";
    return std::string(out.data(), len);
}

int main()
{
    std::unique_ptr<void, Freed> memory(::operator new(spop_agent_size()));
    spop_agent *agent = nullptr;
    std::string input = hello() + notify(), output;
    std::vector<char> out(1024);
    size_t used = 0, len = 0;
    spop_event event;
    spop_error err = spop_agent_init(memory.get(), spop_agent_size(), nullptr, &agent);

    while (err == SPOP_OK) {
        err = spop_agent_recv(agent, input.data(), input.size(), &used, &event);
        if (err == SPOP_OK && event.type == SPOP_EVENT_NOTIFY) {
            spop_writer ack;
            spop_message message;
            spop_value ip, score = spop_int64(42);
            if (spop_message_next(&event.as.notify.messages, &message) != SPOP_OK ||
                spop_arg_find(&message, SPOP_LIT("ip"), &ip) != SPOP_OK || ip.as.ipv4[3] != 17 ||
                spop_ack_begin(agent, event.as.notify.ticket, out.data(), out.size(), &ack) != SPOP_OK ||
                spop_ack_set_var(&ack, SPOP_SCOPE_SESSION, SPOP_LIT("ip_score"), &score) != SPOP_OK ||
                spop_ack_finish(&ack, &len) != SPOP_OK)
                return 1;
            output.append(out.data(), len);
        }
        input.erase(0, used);
        while (spop_agent_send(agent, out.data(), out.size(), &len) == SPOP_OK)
            output.append(out.data(), len);
    }
    const std::string ack("\0\0\0\25\147\0\0\0\1\5\7\1\3\1\10ip_score\4\52", 25);
    bool good = err == SPOP_AGAIN && input.empty() && output.size() > ack.size() &&
                output.compare(output.size() - ack.size(), ack.size(), ack) == 0;
    std::printf("cplusplus: %s\n", good ? "an agent in C++11" : "FAILED");
    return good ? 0 : 1;
}
