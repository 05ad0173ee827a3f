package lever

// #include <string.h>
// #include "shim.h"
import "C"

import (
	"context"
	"unsafe"
)

// What events bring, and to whom. All of it is called by the driver.

// tokenOf reads an event's user_data, which is a number and no pointer.
func tokenOf(event *C.lever_event) uint64 {
	return uint64(*(*uintptr)(unsafe.Pointer(&event.user_data)))
}

func methodTokenOf(event *C.lever_event) uint64 {
	return uint64(*(*uintptr)(unsafe.Pointer(&event.method)))
}

// appendPayload copies an event's payload, which is C's and soon gone.
func appendPayload(to []byte, event *C.lever_event) []byte {
	for _, slice := range unsafe.Slice(event.slices, event.slice_count) {
		to = append(to, unsafe.Slice((*byte)(unsafe.Pointer(slice.data)), slice.size)...)
	}
	return to
}

// payloadOf gives a copy that is the program's own.
func payloadOf(event *C.lever_event) payload {
	p := payload{kind: kind(event.kind)}
	if p.kind != kindNone {
		size := 0
		for _, slice := range unsafe.Slice(event.slices, event.slice_count) {
			size += int(slice.size)
		}
		p.bytes = appendPayload(make([]byte, 0, size), event)
	}
	return p
}

func messageOf(event *C.lever_event) string {
	if event.message == nil {
		return ""
	}
	return C.GoString(event.message)
}

// failureOf gives the error that an event tells of; nil if all is well.
func failureOf(event *C.lever_event) error {
	switch Code(event.status) {
	case CodeOk:
		return nil
	case codeMethodError:
		return methodError(payloadOf(event))
	}
	err := refusal(Code(event.status), messageOf(event))
	err.Executed = Executed(event.executed)
	if event.resumed != 0 {
		err.ResumeToken = tokenBytesOf(event)
		err.ResumeReceived = uint64(event.resume_received)
	}
	return err
}

// tokenBytesOf gives from where a stream was resumed, or could be; never nil.
func tokenBytesOf(event *C.lever_event) []byte {
	return append([]byte{}, unsafe.Slice((*byte)(event.resume_token), event.resume_token_size)...)
}

func metadataOf(event *C.lever_event) Metadata {
	if event.metadata_count == 0 {
		return nil
	}
	m := make(Metadata, event.metadata_count)
	for _, field := range unsafe.Slice(event.metadata, event.metadata_count) {
		name := C.GoStringN(field.name, C.int(field.name_size))
		m[name] = append(m[name], C.GoStringN(field.value, C.int(field.value_size)))
	}
	return m
}

// callerOf is mostly who called last.
func (q *queue) callerOf(event *C.lever_event) string {
	if event.caller == nil || *event.caller == 0 {
		return ""
	}
	text := unsafe.Slice((*byte)(unsafe.Pointer(event.caller)), C.strlen(event.caller))
	if q.caller != string(text) {
		q.caller = string(text)
	}
	return q.caller
}

func (q *queue) deliver(events []C.lever_event) {
	q.findOwners(events)
	for i := range events {
		event := &events[i]
		of := q.owners[i]
		switch event._type {
		case C.LEVER_EVENT_CALL_DONE:
			if of.call != nil {
				of.call.finish(event)
			}
		case C.LEVER_EVENT_INCOMING_CALL:
			q.onIncomingCall(event)
		case C.LEVER_EVENT_INCOMING_STREAM:
			q.onIncomingStream(event)
		case C.LEVER_EVENT_INCOMING_CANCELLED:
			if in := q.incomingOf(event); in != nil {
				in.ctx.cancel(nil)
			}
		case C.LEVER_EVENT_SERVICE_STATE, C.LEVER_EVENT_CLOSED:
			q.onObject(event)
		case C.LEVER_EVENT_RESOURCE_OPEN, C.LEVER_EVENT_RESOURCE_CLOSE:
			q.onResource(event)
		default:
			if stream := q.streamOf(event, of); stream != nil {
				stream.onEvent(event)
			}
		}
	}
	clear(q.owners)
}

// findOwners looks up whom the events are for, and frees what is over.
func (q *queue) findOwners(events []C.lever_event) {
	q.owners = q.owners[:0]
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range events {
		event := &events[i]
		var of owner
		switch event._type {
		case C.LEVER_EVENT_CALL_DONE, C.LEVER_EVENT_STREAM_END, C.LEVER_EVENT_STREAM_MESSAGE,
			C.LEVER_EVENT_WRITABLE, C.LEVER_EVENT_STREAM_HALF_CLOSED:
			token := tokenOf(event)
			if token == 0 {
				break // of an incoming stream
			}
			of = q.slots[uint32(token)].owner
			if event._type == C.LEVER_EVENT_CALL_DONE || event._type == C.LEVER_EVENT_STREAM_END {
				q.freeSlot(token)
			}
		case C.LEVER_EVENT_INCOMING_CALL, C.LEVER_EVENT_INCOMING_STREAM:
			q.refs++ // until its method has returned
		}
		q.owners = append(q.owners, of)
	}
}

func (q *queue) onObject(event *C.lever_event) {
	q.mu.Lock()
	o := q.objects[tokenOf(event)]
	q.mu.Unlock()
	if event._type == C.LEVER_EVENT_CLOSED {
		o.onClosed()
	} else {
		o.onState(serviceState(event.service_state), Code(event.status), messageOf(event))
	}
}

func (q *queue) onResource(event *C.lever_event) {
	q.mu.Lock()
	o := q.objects[tokenOf(event)]
	q.mu.Unlock()
	native := o.(*nativeService)
	native.mu.Lock()
	owner := native.owner
	native.mu.Unlock()
	owner.resource.onResource(q, event)
}

// ---- What comes in ----

// incomingOf finds what came in under an event's id; nil if its slot is another's by now.
func (q *queue) incomingOf(event *C.lever_event) *incoming {
	n := uint32(event.id)
	if n >= uint32(len(q.incoming)) || q.incoming[n].id != uint64(event.id) {
		return nil
	}
	return &q.incoming[n]
}

func (q *queue) streamOf(event *C.lever_event, of owner) *Stream {
	if of.stream != nil {
		return of.stream
	}
	in := q.incomingOf(event)
	if in == nil {
		return nil
	}
	stream := in.stream
	if event._type == C.LEVER_EVENT_STREAM_END {
		*in = incoming{}
	}
	return stream
}

func (q *queue) addIncoming(in incoming) {
	for uint32(len(q.incoming)) <= uint32(in.id) {
		q.incoming = append(q.incoming, incoming{})
	}
	q.incoming[uint32(in.id)] = in
}

// contextOf makes the context of what has come in; nil if that is of a resource which was closed.
func (q *queue) contextOf(event *C.lever_event) (*method, *callContext) {
	q.mu.Lock()
	m := q.methods[methodTokenOf(event)]
	q.mu.Unlock()
	ctx := &callContext{
		queue:      q,
		service:    m.service,
		id:         uint64(event.id),
		deadlineNs: int64(event.deadline_ns),
		caller:     q.callerOf(event),
		metadata:   metadataOf(event),
	}
	if m.resource == nil {
		return m, ctx
	}
	of := m.resource.opened.find(uint64(event.resource))
	if of == nil {
		q.fail(ctx.id, CodeUnavailable, "the resource was closed")
		return m, nil
	}
	ctx.target, ctx.resource, ctx.generation = of.value, of.ctx.resource, uint64(event.generation)
	return m, ctx
}

func (q *queue) onIncomingCall(event *C.lever_event) {
	m, ctx := q.contextOf(event)
	if ctx == nil {
		return
	}
	q.addIncoming(incoming{id: ctx.id, ctx: ctx})
	in := incomingCalls.Get().(*incomingCall)
	in.method, in.ctx = m, ctx
	in.arguments.kind = kind(event.kind)
	in.arguments.bytes = appendPayload(in.arguments.bytes[:0], event)
	go in.run()
}

func (q *queue) onIncomingStream(event *C.lever_event) {
	m, ctx := q.contextOf(event)
	if ctx == nil {
		return
	}
	stream := newStream(q, ctx)
	stream.id = ctx.id
	stream.method, stream.arguments = m.name, payloadOf(event)
	if m.resource != nil && m.resource.resumes {
		stream.window = resumableWindow
	}
	q.addIncoming(incoming{id: ctx.id, ctx: ctx, stream: stream})
	if event.resumed == 0 {
		go stream.run(ctx, m, m.bindStream)
		return
	}
	token, received := tokenBytesOf(event), uint64(event.resume_received)
	go stream.run(ctx, m, func(payload) (boundStream, error) {
		return func(own context.Context, s *Stream) error {
			return ctx.target.(ResourceResumer).Resume(own, s, token, received)
		}, nil
	})
}
