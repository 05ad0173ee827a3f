package lever

// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"unsafe"
)

// What may lie here unread. Granted again when half of it was read.
const (
	prefetchMessages = 64
	prefetchBytes    = 256 << 10
)

// Of streams that can be resumed: their callers keep what was not granted again, to send it elsewhere.
var (
	ownWindow       = credit{prefetchMessages, prefetchBytes}
	resumableWindow = credit{16, 64 << 10}
)

// tokenMax is how many bytes a token has from which a stream is resumed.
const tokenMax = C.LEVER_RESUME_TOKEN_MAX

func checkToken(token []byte) error {
	if len(token) > tokenMax {
		return invalid("a token to resume a stream from has %d bytes, more than %d", len(token), tokenMax)
	}
	return nil
}

// A Stream carries messages both ways: a client's from [Client.Stream], a method's from its caller. One
// goroutine may send while another receives; several of either are taken one after the other.
//
// A client's stream holds memory until it has ended: it is read to its end, or closed, or its context is
// cancelled.
type Stream struct {
	queue  *queue
	client *Client // nil for one that came in
	ctx    context.Context
	// Stops watching ctx.
	unwatch func() bool
	// Of one that came in.
	method    string
	arguments payload

	mu         sync.Mutex
	changed    sync.Cond // begun, ended, readable
	writable   sync.Cond
	id         uint64 // 0 while it is not begun
	messages   []payload
	read       int    // of messages
	window     credit // of what may lie unread
	used       credit
	moving     bool          // to where its resource goes
	told       bool          // the method has asked, or read, and knows or may know it
	move       chan struct{} // closed when it moves; nil until it is asked for
	blocked    bool          // until there is room
	sendClosed bool
	readEnded  bool
	ended      bool
	err        error // why it ended, if not well
}

type credit struct {
	messages, bytes uint64
}

func newStream(q *queue, ctx context.Context) *Stream {
	s := &Stream{queue: q, ctx: ctx, window: ownWindow}
	s.changed.L = &s.mu
	s.writable.L = &s.mu
	return s
}

// Stream opens a stream to a streaming method, one whose name ends in Chan or _chan, or is chan. It lasts
// as long as ctx at most. Where the service's refusal comes at once, it may be this error instead of that of
// the first Recv.
func (c *Client) Stream(ctx context.Context, address string, arguments ...any) (*Stream, error) {
	return c.OpenStream(ctx, address, arguments)
}

// OpenStream is Stream with options.
func (c *Client) OpenStream(ctx context.Context, address string, arguments []any, options ...CallOption) (*Stream, error) {
	var o callOptions
	for _, option := range options {
		option(&o)
	}
	if o.err != nil {
		return nil, o.err
	}
	timeout, left := o.timeoutFor(ctx)
	if !left || ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	data, err := encodeArguments(nil, arguments)
	if err != nil {
		return nil, err
	}
	if !c.use() {
		return nil, refusal(CodeCancelled, "the client is closed")
	}
	s := newStream(c.queue, ctx)
	s.client = c
	c.start(owner{stream: s}, C.LEVER_GO_OPEN, address, data, timeout, &o)
	s.mu.Lock()
	for s.id == 0 && !s.ended {
		s.changed.Wait()
	}
	refused := s.id == 0
	s.mu.Unlock()
	if refused && s.err != nil {
		return nil, s.err
	}
	unwatch := context.AfterFunc(ctx, s.contextEnded)
	s.mu.Lock()
	s.unwatch = unwatch
	if s.ended {
		unwatch()
	}
	s.mu.Unlock()
	return s, nil
}

// Context is that of the stream: a method's own, or what the stream was opened with.
func (s *Stream) Context() context.Context { return s.ctx }

// Method is the name under which a method was called; "" for a client's stream.
func (s *Stream) Method() string { return s.method }

// Arguments stores what a method's stream was opened with in what the targets point to. Arguments beyond
// them are left out; fewer are an error.
func (s *Stream) Arguments(targets ...any) error {
	d, _, err := argumentsIn(s.arguments, len(targets), argumentsMax)
	for i := 0; err == nil && i < len(targets); i++ {
		if err = d.into(targets[i], 0); err != nil {
			err = fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	if err != nil {
		return invalid("%s: %w", s.method, err)
	}
	return nil
}

// Moving is closed when the resource of a method's stream moves to another instance, for methods that do not
// read: the method is to return, and its stream goes on there, see [ResourceResumer]. It never is if the
// resource does not resume, or its caller cannot follow: the stream ends then.
//
// A method that has asked for it and is done calls CloseSend before it returns: whether it has seen that it
// is closed cannot be known.
func (s *Stream) Moving() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = true
	if s.move == nil {
		s.move = make(chan struct{})
		if s.moving {
			close(s.move)
		}
	}
	return s.move
}

// ---- Sending ----

// Send sends one message. It waits while the other side is behind, and returns when the library has taken
// the message. After the stream's end it gives the error that the stream ended with.
func (s *Stream) Send(message any) error {
	return s.send(message, nil)
}

// SendResumable is Send with a token, of a method: the last token that has come when the resource moves is
// what [ResourceResumer] is given. It says how to go on behind this message, with at most 4096 bytes.
func (s *Stream) SendResumable(message any, token []byte) error {
	if s.client != nil {
		return refusal(CodeFailedPrecondition, "a method's stream has tokens, and this is a client's")
	}
	if err := checkToken(token); err != nil {
		return err
	}
	if token == nil {
		token = []byte{}
	}
	return s.send(message, token)
}

// send sends without a token if that is nil.
func (s *Stream) send(message any, token []byte) error {
	buffer := calls.Get().(*call)
	defer buffer.recycle()
	data, err := encodeMessage(buffer.out[:0], message)
	buffer.out = data.bytes
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.ended && s.err != nil:
			return s.err
		case s.ended:
			return refusal(CodeFailedPrecondition, "the stream has ended")
		case s.sendClosed:
			return refusal(CodeFailedPrecondition, "the stream was closed for sending")
		case s.blocked:
			s.writable.Wait()
			continue
		}
		switch status := s.write(data, token); status {
		case C.LEVER_OK:
			return nil
		case C.LEVER_WOULD_BLOCK:
			s.blocked = true
		default:
			return refusal(Code(status), "the message cannot be sent: "+codeTexts[Code(status)])
		}
	}
}

func (s *Stream) write(data payload, token []byte) C.lever_status {
	flush := s.queue.flush()
	defer s.queue.flushed(flush)
	bytes, size := unsafe.Pointer(unsafe.SliceData(data.bytes)), C.size_t(len(data.bytes))
	if token == nil {
		return C.lever_go_stream_write(s.queue.c, C.lever_stream(s.id), C.int32_t(data.kind), bytes, size, flush)
	}
	return C.lever_go_stream_write_resumable(s.queue.c, C.lever_stream(s.id), C.int32_t(data.kind), bytes, size,
		unsafe.Pointer(unsafe.SliceData(token)), C.size_t(len(token)), flush)
}

// CloseSend says that no more messages come from this side, which goes on receiving. A method closes its
// side by returning.
func (s *Stream) CloseSend() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.sendClosed {
		return nil
	}
	s.sendClosed = true
	s.writable.Broadcast()
	flush := s.queue.flush()
	C.lever_go_stream_close_send(s.queue.c, C.lever_stream(s.id), flush)
	s.queue.flushed(flush)
	return nil
}

// Close gives the stream up, unless it has ended: what was not sent is dropped, what was not read too, and
// the other side learns of it. It always returns nil.
func (s *Stream) Close() error {
	s.cancel()
	return nil
}

func (s *Stream) contextEnded() {
	if !s.queue.endsWith(s.ctx) {
		s.cancel()
	}
}

func (s *Stream) cancel() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.id == 0 {
		return
	}
	s.messages, s.read = nil, 0
	flush := s.queue.flush()
	C.lever_go_stream_cancel(s.queue.c, C.lever_stream(s.id), flush)
	s.queue.flushed(flush)
}

// moveOn ends the stream of a method that has returned for its resource moves. False: it does not.
func (s *Stream) moveOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.moving || !s.told || s.ended || s.sendClosed {
		return false
	}
	s.sendClosed = true
	s.writable.Broadcast()
	C.lever_go_stream_moved(s.queue.c, C.lever_stream(s.id), C.uint64_t(len(s.messages)-s.read), 1)
	return true
}

// finish ends a method's side: well, or with its error.
func (s *Stream) finish(failure error) {
	if (failure == nil || errors.Is(failure, ErrMoved)) && s.moveOn() {
		return
	}
	if failure == nil {
		s.CloseSend()
		return
	}
	data := encodeErrorPayload(nil, failure)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.sendClosed {
		return
	}
	s.sendClosed = true
	s.writable.Broadcast()
	status := C.lever_go_stream_fail(s.queue.c, C.lever_stream(s.id), C.int32_t(data.kind),
		unsafe.Pointer(unsafe.SliceData(data.bytes)), C.size_t(len(data.bytes)), 1)
	if status != C.LEVER_OK {
		C.lever_go_stream_cancel(s.queue.c, C.lever_stream(s.id), 1)
	}
}

// ---- Receiving ----

// Recv stores the next message in what target points to. At the stream's end it returns io.EOF if all is
// well, else the error: a [*MethodError] if it is the method's own. A message that does not fit is an
// error, and the stream goes on. For a method it returns [ErrMoved] when the resource moves: what was not
// received is received elsewhere.
func (s *Stream) Recv(target any) error {
	message, err := s.next()
	if err != nil {
		return err
	}
	if err := message.decode(target); err != nil {
		return &Error{Code: CodeInvalidArgument, Message: "the message: " + err.Error(), Cause: err}
	}
	return nil
}

func (s *Stream) next() (payload, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.read == len(s.messages) && !s.readEnded && !s.moving {
		s.changed.Wait()
	}
	if s.moving && (s.read < len(s.messages) || !s.readEnded) {
		s.told = true
		if s.err != nil {
			return payload{}, s.err
		}
		return payload{}, ErrMoved
	}
	if s.read == len(s.messages) {
		if s.err != nil {
			return payload{}, s.err
		}
		return payload{}, io.EOF
	}
	message := s.messages[s.read]
	s.messages[s.read] = payload{}
	if s.read++; s.read == len(s.messages) {
		s.messages, s.read = s.messages[:0], 0
	}
	s.used.messages++
	s.used.bytes += uint64(len(message.bytes))
	if (s.used.messages*2 >= s.window.messages || s.used.bytes*2 >= s.window.bytes) && !s.readEnded {
		s.grant(s.used)
	}
	return message, nil
}

// grant has so much more delivered. Of no bytes at all the library would take that there is no bound.
func (s *Stream) grant(more credit) {
	s.used = credit{}
	flush := s.queue.flush()
	C.lever_go_stream_read(s.queue.c, C.lever_stream(s.id), C.uint64_t(more.messages),
		C.uint64_t(max(more.bytes, 1)), flush)
	s.queue.flushed(flush)
}

// Messages gives what Recv would, for a range clause. An error is the last thing that it gives; io.EOF is
// none. A client's stream is closed if the loop is left early.
//
//	for message, err := range lever.Messages[string](s) {
func Messages[T any](s *Stream) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			var message T
			err := s.Recv(&message)
			if err == io.EOF {
				return
			}
			if !yield(message, err) {
				if s.client != nil {
					s.Close()
				}
				return
			}
			if err != nil {
				return
			}
		}
	}
}

// ---- Events ----

// opened tells that a client's stream was begun, or refused.
func (s *Stream) opened(id uint64, refused *Error) {
	s.mu.Lock()
	s.id = id
	s.changed.Broadcast()
	s.mu.Unlock()
	if refused != nil {
		s.end(refused)
	}
}

func (s *Stream) onEvent(event *C.lever_event) {
	switch event._type {
	case C.LEVER_EVENT_STREAM_MESSAGE:
		message := payloadOf(event)
		s.mu.Lock()
		if s.read > prefetchMessages {
			n := copy(s.messages, s.messages[s.read:])
			s.messages, s.read = s.messages[:n], 0
		}
		s.messages = append(s.messages, message)
		s.changed.Signal()
		s.mu.Unlock()
	case C.LEVER_EVENT_STREAM_HALF_CLOSED:
		s.mu.Lock()
		s.readEnded = true
		s.changed.Broadcast()
		s.mu.Unlock()
	case C.LEVER_EVENT_STREAM_MOVING:
		s.mu.Lock()
		s.moving = true
		if s.move != nil {
			close(s.move)
		}
		s.changed.Broadcast()
		s.mu.Unlock()
	case C.LEVER_EVENT_WRITABLE:
		s.mu.Lock()
		s.blocked = false
		s.writable.Broadcast()
		s.mu.Unlock()
	case C.LEVER_EVENT_STREAM_END:
		s.end(failureOf(event))
	}
}

func (s *Stream) end(failure error) {
	if trouble, ok := failure.(*Error); ok && s.client != nil {
		failure = trouble.withCause(s.ctx)
	}
	s.mu.Lock()
	s.err = failure
	s.ended, s.readEnded = true, true
	unwatch := s.unwatch
	s.changed.Broadcast()
	s.writable.Broadcast()
	s.mu.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if s.client != nil {
		s.client.unuse()
	} else {
		s.ctx.(*callContext).streamEnded(failure)
	}
}
