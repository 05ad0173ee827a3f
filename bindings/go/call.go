package lever

// #include "shim.h"
import "C"

import (
	"context"
	"sync"
)

// Unary calls of ours.

// A call is one in flight. They are used again.
type call struct {
	done chan struct{} // gets one when it is done
	out  []byte        // what was sent
	in   payload       // what was answered
	err  error
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// keptMax is up to how many bytes the memory of a payload is kept for the next one.
const keptMax = 64 << 10

func (k *call) recycle() {
	k.err = nil
	k.in.kind = kindNone
	if cap(k.in.bytes) > keptMax {
		k.in.bytes = nil
	}
	if cap(k.out) > keptMax {
		k.out = nil
	}
	calls.Put(k)
}

func (k *call) finish(event *C.lever_event) {
	if event.status == C.LEVER_OK {
		k.in.kind = kind(event.kind)
		k.in.bytes = appendPayload(k.in.bytes[:0], event)
	} else {
		k.err = failureOf(event)
	}
	k.done <- struct{}{}
}

func (k *call) refuse(err *Error) {
	k.err = err
	k.done <- struct{}{}
}

// Invoke calls a method and gives its answer.
//
// An address is "/service/method", "/service/resource/method" or "lever://environment/..." before it.
// The error is a [*MethodError] if it is the method's own, else an [*Error].
func Invoke[T any](ctx context.Context, c *Client, address string, arguments ...any) (T, error) {
	var answer T
	err := c.call(ctx, address, arguments, nil, &answer)
	return answer, err
}

// Call is Invoke with options.
func Call[T any](ctx context.Context, c *Client, address string, arguments []any, options ...CallOption) (T, error) {
	var answer T
	err := c.call(ctx, address, arguments, options, &answer)
	return answer, err
}

// call makes a call, and stores the answer in what target points to.
func (c *Client) call(ctx context.Context, address string, arguments []any, options []CallOption, target any) error {
	var o callOptions
	for _, option := range options {
		option(&o)
	}
	if o.err != nil {
		return o.err
	}
	timeout, left := o.timeoutFor(ctx)
	if !left || ctx.Err() != nil {
		return contextError(ctx)
	}
	k := calls.Get().(*call)
	defer k.recycle()
	data, err := encodeArguments(k.out[:0], arguments)
	k.out = data.bytes
	if err != nil {
		return err
	}
	if !c.use() {
		return refusal(CodeCancelled, "the client is closed")
	}
	defer c.unuse()
	token := c.start(owner{call: k}, C.LEVER_GO_CALL, address, data, timeout, &o)
	c.wait(ctx, k, token)
	if k.err != nil {
		if trouble, ok := k.err.(*Error); ok {
			return trouble.withCause(ctx)
		}
		return k.err
	}
	if err := k.in.decode(target); err != nil {
		// The method has run, and it is for the caller to know what it answers.
		return &Error{Code: CodeInvalidArgument, Message: address + ": the answer: " + err.Error(),
			Executed: ExecutedYes, Cause: err}
	}
	return nil
}

// start hands a call or stream over, and gives its token.
func (c *Client) start(of owner, op C.uint32_t, address string, data payload, timeout int64, o *callOptions) uint64 {
	q := c.queue
	q.mu.Lock()
	token := q.newSlot(of)
	record := q.append(op, address, data, append(o.metadata, o.token...))
	record.metadata_bytes = C.uint32_t(len(o.metadata))
	record.resume_bytes = C.uint32_t(len(o.token))
	record.resume_received = C.uint64_t(o.received)
	record.client = c.c
	record.token = C.uint64_t(token)
	record.timeout_ns = C.int64_t(timeout)
	record.flags = C.uint32_t(o.flags)
	record.metadata_count = C.uint32_t(o.fields)
	if of.stream != nil {
		record.read_messages = prefetchMessages
		record.read_bytes = prefetchBytes
	}
	q.submit()
	return token
}

// wait waits until the call is done. If the context ends before, it is cancelled, which is soon told.
func (c *Client) wait(ctx context.Context, k *call, token uint64) {
	select {
	case <-k.done:
	case <-ctx.Done():
		if !c.queue.endsWith(ctx) {
			c.queue.cancel(token)
		}
		<-k.done
	}
}

// endsWith tells whether what was begun with a context that is over ends by itself, because it was the
// deadline that passed, of which the library knows.
func (q *queue) endsWith(ctx context.Context) bool {
	_, bounded := ctx.Deadline()
	return bounded && ctx.Err() == context.DeadlineExceeded && !q.held.Load()
}
