//! Every function of the two state machines, in any order.

use spop_core::{
    Agent, AgentConfig, AgentEvent, Client, ClientConfig, ClientEvent, Disconnect, EngineId, NotifyEncoder, Ticket,
    valid,
};

use crate::codec::{actions, fill, show, show_debug, valid_messages};
use crate::source::{Source, touch};

pub fn all(mut source: Source<'_>) {
    agent::<128>(&mut source);
    agent::<1>(&mut source);
    client::<128>(&mut source);
    client::<1>(&mut source);
}

fn agent<const OPEN: usize>(source: &mut Source<'_>) {
    let mut agent = Agent::<OPEN>::new(
        AgentConfig::DEFAULT
            .with_max_frame_size(source.u32())
            .with_hello_max_frame_size(source.u32())
            .with_capabilities(source.capabilities())
            .with_max_fragments(source.u32())
            .with_hello_timeout(source.option())
            .with_half_frame_timeout(source.option())
            .with_idle_timeout(source.option()),
    );
    show_debug(&AgentConfig::default());
    let (mut memory, mut out) = ([0_u8; 4096], [0_u8; 512]);
    let (memory, out) = (source.part_of(&mut memory), source.part_of(&mut out));
    let mut ticket = None;
    for _ in 0..source.u8() {
        match source.u8() {
            0 => touch((
                agent.negotiated(),
                agent.is_closed(),
                agent.open(),
                agent.poll_timeout(),
                agent.pending_disconnect(),
            )),
            1 => touch((agent.want(source.bytes()).bytes(), *agent.stats())),
            2 => agent.close(source.status()),
            3 => touch(agent.handle_eof()),
            4 => touch(agent.handle_timeout(source.u64())),
            5 => touch(agent.poll_transmit(out)),
            6 => touch(ticket.and_then(|ticket| agent.release(ticket))),
            7 => answer(&mut agent, source, out, ticket),
            _ => ticket = receive(&mut agent, source, memory).or(ticket),
        }
    }
    show_debug(&agent);
}

fn receive<const OPEN: usize>(agent: &mut Agent<OPEN>, source: &mut Source<'_>, memory: &mut [u8]) -> Option<Ticket> {
    match agent.handle_input(source.bytes(), memory) {
        Ok((used, event)) => {
            touch(used);
            event.iter().for_each(show_debug);
            touch(event.as_ref().map(|event| (event.frame_type(), event.ends_reassembly())));
            match event? {
                AgentEvent::Notify(notify) => {
                    valid_messages(notify.messages(), source.bytes());
                    valid_messages(valid::Messages::kept(notify.payload(), source.usize()), source.bytes());
                    return Some(Ticket::from_bits(notify.ticket.to_bits()));
                }
                AgentEvent::Disconnect(end) => disconnect(&end),
                other => touch(other),
            }
        }
        Err(error) => {
            touch(error.status());
            show(&error);
        }
    }
    None
}

fn answer<const OPEN: usize>(agent: &mut Agent<OPEN>, source: &mut Source<'_>, out: &mut [u8], ticket: Option<Ticket>) {
    let Some(ticket) = ticket else { return };
    match agent.ack(out, ticket) {
        Ok(mut ack) => {
            touch(ack.set_var(source.scope(), source.bytes(), &source.value()));
            touch(ack.finish());
        }
        Err(error) => show(&error),
    }
}

fn client<const OPEN: usize>(source: &mut Source<'_>) {
    let mut client = Client::<OPEN>::new(
        ClientConfig::DEFAULT
            .with_max_frame_size(source.u32())
            .with_capabilities(source.capabilities())
            .with_healthcheck(source.bool())
            .with_engine_id(EngineId::new(source.bytes()))
            .with_hello_timeout(source.option()),
    );
    touch(EngineId::new(source.bytes()).iter().map(|id| id.as_bytes().len()).sum::<usize>());
    show_debug(&ClientConfig::default());
    let (mut payload, mut out) = ([0_u8; 4096], [0_u8; 512]);
    let (payload, out) = (source.part_of(&mut payload), source.part_of(&mut out));
    touch(fill(source, NotifyEncoder::payload(payload)));
    for _ in 0..source.u8() {
        let (stream_id, frame_id) = source.ids();
        match source.u8() {
            0 => touch((client.negotiated(), client.is_closed(), client.in_flight(), client.poll_timeout())),
            1 => touch((client.want(source.bytes()).bytes(), *client.stats())),
            2 => client.close(source.status()),
            3 => touch(client.handle_eof()),
            4 => touch(client.handle_timeout(source.u64())),
            5 => touch(client.poll_transmit(out)),
            6 => touch(client.forget(stream_id, frame_id)),
            7 => match client.notify(out, stream_id, frame_id) {
                Ok(notify) => touch(fill(source, notify)),
                Err(error) => show(&error),
            },
            8 => touch(client.start_fragmented(stream_id, frame_id)),
            9 => touch(client.notify_fragment(out, payload, source.usize())),
            10 => touch(client.abort_fragmented(out)),
            _ => read(&mut client, source),
        }
    }
    show_debug(&client);
}

fn read<const OPEN: usize>(client: &mut Client<OPEN>, source: &mut Source<'_>) {
    match client.handle_input(source.bytes()) {
        Ok((used, event)) => {
            touch(used);
            event.iter().for_each(show_debug);
            touch(event.as_ref().map(ClientEvent::frame_type));
            match event {
                Some(ClientEvent::Ack { actions: list, .. }) => actions(list),
                Some(ClientEvent::Disconnect(end)) => disconnect(&end),
                other => touch(other),
            }
        }
        Err(error) => show(&error),
    }
}

fn disconnect(end: &Disconnect<'_>) {
    touch(end.message_str());
    end.status.iter().for_each(show);
}
