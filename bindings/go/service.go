package lever

// #include "shim.h"
import "C"

import (
	"context"
	"fmt"
	"sync"
	"time"
	"unsafe"
)

// ServiceOptions describe a service.
type ServiceOptions struct {
	// Name is the service's name. It may be left out in an instance that a host has started: the host
	// knows, and what is given here is then ignored.
	Name string
	// Env is its environment. Default: $LEVER_ENV, else dev.lever.
	Env string
	// Host is the address of the host to attach to, as in [Options]. Default: $LEVER_HOST, else
	// 127.0.0.1:8080.
	Host string
	// Listen is an address of its own on which it takes calls from anybody, "127.0.0.1:9000"; port 0 for
	// any, which Details then tells. With "tls:" before it, it is for callers that the host cannot introduce:
	// each shows a token of the host's there. Default: none.
	Listen string
	// Private refuses calls from outside of its environment, as "private" in lever.json does for services that
	// a host starts (there it is ignored). Not together with a plain Listen.
	Private bool
	// TLS is for a host with "tls:" before its address.
	TLS *TLSOptions
	// MaxConcurrency bounds the calls that run at a time; the excess is refused, unexecuted. 0: no bound.
	MaxConcurrency int
	// DrainTimeout is what running calls get when the service drains. Default: what the host says, else
	// 30 s.
	DrainTimeout time.Duration
	// OnState is told of changes, on a goroutine of the library's: it must not block. err says why the
	// service is detached.
	OnState func(state State, err error)
}

// A State is how far a service is.
type State int

const (
	// StateStarting: it is not known to a host yet.
	StateStarting State = iota
	// StateAttached: the host knows it, and calls come.
	StateAttached
	// StateDraining: no new calls; what runs is finished.
	StateDraining
	// StateDrained: nothing is left.
	StateDrained
	// StateDetached: the host is gone, or has refused it. A program that attached itself tries again.
	StateDetached
)

// String gives "attached".
func (s State) String() string {
	return [...]string{"starting", "attached", "draining", "drained", "detached"}[s]
}

type serviceState = State

// Details are what the host has told of an instance.
type Details struct {
	Env, Name string
	Instance  string // its id
	Version   uint64 // 0: attached without a deploy
	Listening string // the address of Listen, or ""
}

// A Service is a set of methods that others call. Methods are added before it is started.
type Service struct {
	options  ServiceOptions
	methods  []*method
	names    map[string]bool
	resource *resourceType // of its resources; nil: it has none
	bad      error         // what was wrong with a method

	attached chan struct{} // closed when it is attached for the first time
	over     chan struct{} // closed when it has drained, was closed, or has lost the host that started it

	mu       sync.Mutex
	started  bool
	closed   bool // Close was called
	native   *nativeService
	base     context.Context // whose values the methods' contexts have
	stop     func() bool     // stops watching the context that it was started with
	isOver   bool
	failure  error
	state    State
	client   *Client
	closing  sync.Once
	isClosed chan struct{}
}

// NewService makes a service without methods.
func NewService(options ServiceOptions) *Service {
	return &Service{
		options: options, names: make(map[string]bool), attached: make(chan struct{}),
		over: make(chan struct{}), isClosed: make(chan struct{}),
	}
}

// ---- Life ----

// Serve starts the service and takes calls until ctx ends: then it drains, which lets what runs finish,
// and Serve returns nil. It returns nil, too, when the host has drained it.
//
// In an instance that a host has started it returns an error when that host is gone. A program that
// attached itself attaches again.
func (s *Service) Serve(ctx context.Context) error {
	if err := s.Start(ctx); err != nil {
		return err
	}
	return s.Wait()
}

// Start starts the service, and does not wait for the host. The values of ctx are those of the methods'
// contexts; when it ends, the service drains.
func (s *Service) Start(ctx context.Context) error {
	return s.start(ctx, func() (*nativeService, error) {
		native, err := ownInstance()
		if native == nil && err == nil {
			native, err = newOwnQueueService(s.options)
		}
		return native, err
	})
}

func (s *Service) start(ctx context.Context, make func() (*nativeService, error)) error {
	if s.bad != nil {
		return s.bad
	}
	s.mu.Lock()
	again, closed := s.started, s.closed
	s.started = true
	s.mu.Unlock()
	if closed {
		return refusal(CodeFailedPrecondition, "the service was closed")
	}
	if again {
		return refusal(CodeFailedPrecondition, "the service was started before")
	}
	native, err := make()
	if err != nil {
		return err
	}
	native.mu.Lock()
	taken := native.owner != nil
	if !taken {
		native.owner = s
	}
	native.mu.Unlock()
	if taken {
		return refusal(CodeFailedPrecondition, "this process is an instance of one service, which was started before")
	}
	if err := s.startNative(ctx, native); err != nil {
		s.Close()
		return err
	}
	return nil
}

// startNative has the mutex until it is done, so that Close comes before all of it or after.
func (s *Service) startNative(ctx context.Context, native *nativeService) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.native = native
	if s.closed {
		return refusal(CodeCancelled, "the service was closed")
	}
	s.base = context.WithoutCancel(ctx)
	for _, m := range s.methods {
		token := s.native.queue.addMethod(m)
		status := C.lever_go_service_add_method(s.native.c, (*C.char)(unsafe.Pointer(unsafe.StringData(m.name))),
			C.size_t(len(m.name)), C.uint64_t(token))
		if status != C.LEVER_OK {
			return refusal(Code(status), fmt.Sprintf("method %s: %s", m.name, codeTexts[Code(status)]))
		}
	}
	if s.resource != nil {
		if err := s.native.addResource(s.resource); err != nil {
			return err
		}
	}
	var failure *C.lever_error
	if status := C.lever_service_start(s.native.c, &failure); status != C.LEVER_OK {
		return errorOf(status, failure)
	}
	C.lever_queue_flush(s.native.queue.c)
	s.stop = context.AfterFunc(ctx, s.Drain)
	return nil
}

// Wait waits until the service has drained, or was closed, and closes it.
func (s *Service) Wait() error {
	<-s.over
	s.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Attached waits until the host knows the service, and calls come.
func (s *Service) Attached(ctx context.Context) error {
	select {
	case <-s.attached:
		return nil
	case <-s.over:
		return refusal(CodeCancelled, "the service has ended")
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// State tells how far the service is.
func (s *Service) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Drain takes the service out of every route table, and lets what runs finish. Wait tells when it has.
func (s *Service) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native == nil || s.isOver {
		return
	}
	C.lever_service_drain(s.native.c)
	C.lever_queue_flush(s.native.queue.c)
}

// Close ends what runs with CANCELLED, and the service. The methods' contexts end; Close does not wait for
// the methods to return.
func (s *Service) Close() error {
	s.mu.Lock()
	native, stop := s.native, s.stop
	s.started, s.closed = true, true
	s.mu.Unlock()
	if native == nil {
		return nil // one that is being started finds it closed
	}
	s.closing.Do(func() {
		if stop != nil {
			stop()
		}
		s.end(nil)
		s.mu.Lock()
		client := s.client
		s.mu.Unlock()
		if client != nil {
			client.Close()
		}
		native.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		native.destroy()
		close(s.isClosed)
		if s.resource != nil {
			s.resource.opened.end()
		}
	})
	<-s.isClosed
	return nil
}

func (s *Service) end(failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isOver {
		s.isOver = true
		s.failure = failure
		close(s.over)
	}
}

func (s *Service) onState(state State, status Code, message string) {
	s.mu.Lock()
	first := state == StateAttached && s.state != StateAttached
	s.state = state
	s.mu.Unlock()
	var failure error
	if status != CodeOk {
		failure = refusal(status, message)
	}
	switch state {
	case StateAttached:
		if first {
			select {
			case <-s.attached:
			default:
				close(s.attached)
			}
		}
	case StateDrained:
		s.end(nil)
	case StateDetached:
		if started, _ := ownInstance(); started == s.native {
			s.end(fmt.Errorf("the host is gone: %w", failure))
		}
	}
	if s.options.OnState != nil {
		s.options.OnState(state, failure)
	}
}

// ---- What is known of it ----

type serviceDetails struct {
	Details
	config  string
	secrets string
}

func (s *Service) details() serviceDetails {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native == nil {
		return serviceDetails{config: "null", secrets: "{}"}
	}
	select {
	case <-s.isClosed:
		return serviceDetails{config: "null", secrets: "{}"}
	default:
	}
	d := C.lever_service_details{size: C.sizeof_lever_service_details}
	C.lever_service_get_details(s.native.c, &d)
	return serviceDetails{
		Details: Details{
			Env: C.GoString(d.environment), Name: C.GoString(d.name), Instance: C.GoString(d.instance),
			Version: uint64(d.version), Listening: C.GoString(d.listening),
		},
		config:  C.GoString(d.config_json),
		secrets: C.GoString(d.secrets_json),
	}
}

// Details tells of the instance, as far as it is known.
func (s *Service) Details() Details { return s.details().Details }

// Client gives a client for calls to other services: over the service's own connection to its host, in its
// environment. It is shared, and closed with the service.
func (s *Service) Client() (*Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.native == nil || s.isOver && s.client == nil {
		return nil, refusal(CodeFailedPrecondition, "the service does not run")
	}
	if s.client == nil {
		client, err := newClient(s.native.queue, s.native, Options{}, false)
		if err != nil {
			return nil, err
		}
		s.client = client
	}
	return s.client, nil
}
