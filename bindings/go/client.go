package lever

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Options say how a client reaches its host.
type Options struct {
	// Host is the host's address: "127.0.0.1:8080", "host:8080", "unix:/path", "tls:host:8443". Default:
	// in an instance that a host has started, that host; else $LEVER_HOST; else 127.0.0.1:8080.
	Host string
	// Env is the environment of addresses that name none. Default: the instance's; else $LEVER_ENV; else
	// dev.lever.
	Env string
	// TLS is for a host with "tls:" before its address; an error with another.
	TLS *TLSOptions
	// MessageBytesMax bounds a message that comes in. Default: 4 MiB.
	MessageBytesMax int
	// OnlyThroughHost has calls never go straight to an instance.
	OnlyThroughHost bool
	// Echo has no network: a call answers with its own arguments, a stream with its own messages.
	Echo bool
}

// TLSOptions name PEM files. They are followed: what replaces one is used by the next connection.
type TLSOptions struct {
	// CA has the authorities that are trusted. Default: $LEVER_TLS_CA, $SSL_CERT_FILE, the system's.
	CA string
	// Cert and Key are for a host that asks for a client's certificate. Default: $LEVER_TLS_CERT and
	// $LEVER_TLS_KEY.
	Cert, Key string
	// ServerName is the name that the host's certificate must bear. Default: the address's host.
	ServerName string
}

// Stats count what a client did since it was made.
type Stats struct {
	CallsDirect       uint64 // calls and streams that went straight to an instance
	CallsThroughHost  uint64
	Retries           uint64
	DirectConnections uint64 // open now
}

// A Client calls services. Any number of goroutines may share it.
type Client struct {
	queue *queue
	c     *C.lever_client
	token uint64
	// Calls and streams in flight, and one for the client itself until its last event.
	users  atomic.Int64
	closed atomic.Bool
	gone   chan struct{}
	close  sync.Once
}

// texts collects texts for C: one block, each ended by a NUL, the first byte unused.
type texts struct {
	block strings.Builder
	bad   bool
}

func (t *texts) add(text string) C.uint32_t {
	if text == "" {
		return 0
	}
	if t.block.Len() == 0 {
		t.block.WriteByte(0)
	}
	at := t.block.Len()
	t.bad = t.bad || strings.IndexByte(text, 0) >= 0
	t.block.WriteString(text)
	t.block.WriteByte(0)
	return C.uint32_t(at)
}

func (t *texts) addTLS(from *TLSOptions) C.lever_go_tls {
	if from == nil {
		return C.lever_go_tls{}
	}
	return C.lever_go_tls{given: 1, roots: t.add(from.CA), certificate: t.add(from.Cert),
		key: t.add(from.Key), server_name: t.add(from.ServerName)}
}

// data gives the block, for a call of C.
func (t *texts) data() *C.char {
	t.block.WriteByte(0)
	return (*C.char)(unsafe.Pointer(unsafe.StringData(t.block.String())))
}

func flag(on bool) C.int {
	if on {
		return 1
	}
	return 0
}

// Dial makes a client. It does not wait for a connection: the first calls do, within their deadlines.
// The client lasts until it is closed; ctx only bounds Dial itself.
func Dial(ctx context.Context, options Options) (*Client, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	if options.Host == "" && !options.Echo {
		own, err := ownInstance()
		if err != nil {
			return nil, err
		}
		if own != nil {
			return newClient(own.queue, own, options, false)
		}
	}
	q, err := openQueue()
	if err != nil {
		return nil, err
	}
	defer q.release() // the client has its own
	return newClient(q, nil, options, false)
}

func newClient(q *queue, of *nativeService, options Options, inProcess bool) (*Client, error) {
	if options.MessageBytesMax < 0 {
		return nil, invalid("MessageBytesMax is negative")
	}
	var t texts
	host, env, tls := t.add(options.Host), t.add(options.Env), t.addTLS(options.TLS)
	if t.bad {
		return nil, invalid("an option has a NUL in it")
	}
	c := &Client{queue: q, gone: make(chan struct{})}
	c.users.Store(1)
	c.token = q.addObject(c)
	var service *C.lever_service
	if of != nil {
		service = of.c
	}
	var failure *C.lever_error
	status := C.lever_go_client_create(q.c, service, t.data(), host, env, tls, flag(options.Echo),
		flag(options.OnlyThroughHost), flag(inProcess), C.size_t(options.MessageBytesMax), C.uint64_t(c.token),
		&c.c, &failure)
	if status != C.LEVER_OK {
		q.removeObject(c.token)
		return nil, errorOf(status, failure)
	}
	return c, nil
}

// Close ends what is in flight with CANCELLED, and waits until all of it has ended.
func (c *Client) Close() error {
	c.close.Do(func() {
		c.users.Add(1)
		c.closed.Store(true)
		C.lever_client_close(c.c)
		C.lever_queue_flush(c.queue.c)
		c.unuse()
	})
	<-c.gone
	return nil
}

// Stats gives the counters.
func (c *Client) Stats() Stats {
	if !c.use() {
		return Stats{}
	}
	defer c.unuse()
	stats := C.lever_client_stats{size: C.sizeof_lever_client_stats}
	C.lever_client_get_stats(c.c, &stats)
	C.lever_queue_flush(c.queue.c)
	return Stats{uint64(stats.calls_direct), uint64(stats.calls_through_host), uint64(stats.retries),
		uint64(stats.direct_connections)}
}

func (c *Client) onState(serviceState, Code, string) {}
func (c *Client) onClosed()                          { c.unuse() }

// use keeps the library's client alive; false if it is closed.
func (c *Client) use() bool {
	for {
		users := c.users.Load()
		if users == 0 || c.closed.Load() {
			return false
		}
		if c.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
}

func (c *Client) unuse() {
	if c.users.Add(-1) == 0 {
		C.lever_client_destroy(c.c)
		C.lever_queue_flush(c.queue.c)
		c.queue.removeObject(c.token)
		close(c.gone)
	}
}

// ---- Options of calls ----

// A CallOption changes one call or stream.
type CallOption func(*callOptions)

type callOptions struct {
	timeout  time.Duration
	flags    uint32
	metadata []byte
	fields   int
	token    []byte // to resume from
	received uint64
	err      error
}

// Timeout bounds a call besides its context. Without either a call has 60 s and a stream has no bound.
// A negative one means none.
func Timeout(timeout time.Duration) CallOption {
	return func(o *callOptions) { o.timeout = timeout }
}

// Idempotent says that the method may be run twice: an outcome that is not known is tried again.
func Idempotent() CallOption {
	return func(o *callOptions) { o.flags |= C.LEVER_CALL_IDEMPOTENT }
}

// Compress has what is sent go compressed (gzip), and be answered likewise: for slow networks.
func Compress() CallOption {
	return func(o *callOptions) { o.flags |= C.LEVER_CALL_COMPRESS }
}

// WithMetadata sends metadata along.
func WithMetadata(metadata Metadata) CallOption {
	return func(o *callOptions) {
		for name, values := range metadata {
			for _, value := range values {
				o.add(name, value)
			}
		}
	}
}

// Resume takes up again a stream of a resource that has ended, from its [Error]'s ResumeToken and
// ResumeReceived. It is opened with the arguments that it had. What its method had read before is not known.
func Resume(token []byte, received uint64) CallOption {
	return func(o *callOptions) {
		if err := checkToken(token); err != nil {
			o.err = err
			return
		}
		o.flags |= C.LEVER_CALL_RESUME
		o.token, o.received = token, received
	}
}

func (o *callOptions) add(name, value string) {
	if len(name) > math.MaxUint16 {
		o.err = invalid("metadata: a name has %d bytes", len(name))
		return
	}
	b := append(o.metadata, byte(len(name)), byte(len(name)>>8))
	b = append(b, strings.ToLower(name)...)
	size := len(value)
	b = append(b, byte(size), byte(size>>8), byte(size>>16), byte(size>>24))
	o.metadata = append(b, value...)
	o.fields++
}

// timeoutFor gives nanoseconds as lever_call_options has them; false if there are none left.
func (o *callOptions) timeoutFor(ctx context.Context) (int64, bool) {
	timeout := int64(o.timeout)
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return timeout, true
	}
	left := int64(time.Until(deadline))
	if timeout > 0 {
		left = min(left, timeout)
	}
	return left, left > 0
}
