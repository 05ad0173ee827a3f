package lever

// #include "shim.h"
import "C"

import (
	"context"
	"encoding/json"
	"math"
	"sync"
	"time"
)

// A callContext is the context of a method that runs: its deadline is the caller's, and it ends when the
// caller is gone, when the deadline has passed, and when the method has returned. Its values are those of
// the context that the service was started with.
//
// It makes nothing that is not asked for, since there is one for every call.
type callContext struct {
	queue      *queue
	service    *Service
	id         uint64
	deadlineNs int64 // on CLOCK_BOOTTIME; MaxInt64 without
	caller     string
	metadata   Metadata
	resource   string // whose method it is
	generation uint64
	target     any // the program's object

	mu       sync.Mutex
	deadline time.Time // when it was first asked for
	done     chan struct{}
	err      error
	after    map[int]func()
	afters   int
}

// noDeadline is the deadline of those who wait for ever.
const noDeadline = math.MaxInt64

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) {
	if c.deadlineNs == noDeadline {
		return time.Time{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline.IsZero() {
		var now int64
		if c.err == nil {
			now = c.queue.now()
		} else {
			now = int64(C.lever_go_boottime()) // the queue may be gone
		}
		c.deadline = time.Now().Add(time.Duration(c.deadlineNs - now))
	}
	return c.deadline, true
}

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		if c.err != nil {
			return closedChannel
		}
		c.done = make(chan struct{})
	}
	return c.done
}

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

type contextKey struct{}

// Value implements context.Context.
func (c *callContext) Value(key any) any {
	if key == (contextKey{}) {
		return c
	}
	return c.service.base.Value(key)
}

// AfterFunc has contexts derived from this one need no goroutine to watch it (context.AfterFunc).
func (c *callContext) AfterFunc(f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[int]func())
	}
	n := c.afters
	c.afters++
	c.after[n] = f
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[n]
		delete(c.after, n)
		return waiting
	}
}

// cancel ends the context. Without a reason it is what the clock says.
func (c *callContext) cancel(reason error) {
	if reason == nil {
		reason = context.Canceled
		if c.deadlineNs != noDeadline && c.queue.now() >= c.deadlineNs {
			reason = context.DeadlineExceeded
		}
	}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = reason
	if c.done != nil {
		close(c.done)
	}
	after := c.after
	c.after = nil
	c.mu.Unlock()
	for _, f := range after {
		go f()
	}
}

// streamEnded ends the context of a stream that did not end well. Otherwise the method goes on.
func (c *callContext) streamEnded(failure error) {
	if failure != nil {
		c.cancel(nil)
	}
}

// now is the time on the queue's clock.
func (q *queue) now() int64 { return int64(C.lever_go_now(q.c)) }

// A CallInfo is what a method knows of the call that it runs in.
type CallInfo struct {
	ctx *callContext
}

// FromContext gives what is known of the call in whose method ctx was handed out, or was derived; nil
// outside of a method. The deadline is the context's.
func FromContext(ctx context.Context) *CallInfo {
	c, ok := ctx.Value(contextKey{}).(*callContext)
	if !ok {
		return nil
	}
	return &CallInfo{c}
}

// Caller is "lever://environment/service" of who calls, "" if it is outside.
func (i *CallInfo) Caller() string { return i.ctx.caller }

// Metadata is what the caller sent along.
func (i *CallInfo) Metadata() Metadata { return i.ctx.metadata }

// Resource is the name of the resource whose method runs, or which is being opened or closed; else "".
func (i *CallInfo) Resource() string { return i.ctx.resource }

// Generation is its fencing token, see the function [Generation]; 0 outside of a resource.
func (i *CallInfo) Generation() uint64 { return i.ctx.generation }

// Config stores the field `config` of lever.json in what target points to, as encoding/json does.
func (i *CallInfo) Config(target any) error { return i.ctx.service.Config(target) }

// Secrets gives what `lever secret set` has set, by name. The map is the caller's.
func (i *CallInfo) Secrets() map[string]string { return i.ctx.service.Secrets() }

// Service tells of the instance.
func (i *CallInfo) Service() Details { return i.ctx.service.Details() }

// Client gives a client for calls to other services: over the connection to the host that is there
// already, in the instance's environment. It is shared, and closed with the service. Calls that are made
// with the method's context, or one derived from it, end with it.
func (i *CallInfo) Client() (*Client, error) { return i.ctx.service.Client() }

// Config stores the field `config` of lever.json in what target points to, as encoding/json does. Before
// the host has told it is null.
func (s *Service) Config(target any) error {
	return json.Unmarshal([]byte(s.details().config), target)
}

// Secrets gives what `lever secret set` has set, by name; before the host has told, nothing. The map is the
// caller's.
func (s *Service) Secrets() map[string]string {
	secrets := map[string]string{}
	// It is an object of texts whatever the host is: the library has it from the host's own writer.
	if json.Unmarshal([]byte(s.details().secrets), &secrets) != nil {
		return map[string]string{}
	}
	return secrets
}
