package lever

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
)

// Resources: named objects of a service, each owned by one of its instances at a time. What programs hand
// in; open_resource.go has what becomes of it.

// ResourceOptions say how the resources of a service are run.
type ResourceOptions struct {
	// Serial has the calls of one resource run one after the other. Streams run beside them.
	Serial bool
	// MaxConcurrency bounds the calls of one resource that run at a time; others wait. 0: no bound. Streams
	// are not counted.
	MaxConcurrency int
	// IdleTimeout is after how long without a call a resource is closed. 0: 3 minutes.
	IdleTimeout time.Duration
}

// An Origin tells what a resource is opened with.
type Origin int

const (
	// OriginNew: it was not open before, or carries nothing.
	OriginNew Origin = iota
	// OriginCarried: what it was closed with where it was before is its state.
	OriginCarried
	// OriginLost: it may have been open elsewhere, and what it was there is gone: its instance died, or did
	// not close it in time.
	OriginLost
)

// String gives "carried".
func (o Origin) String() string { return [...]string{"new", "carried", "lost"}[o] }

// A CloseReason tells why a resource is closed. What Close returns is carried for CloseMoved, CloseUpgrade
// and CloseStopping.
type CloseReason int

const (
	// CloseIdle: nobody has called it for a while.
	CloseIdle CloseReason = iota
	// CloseMoved: another instance gets it.
	CloseMoved
	// CloseUpgrade: an instance of another version gets it.
	CloseUpgrade
	// CloseStopping: the instance stops.
	CloseStopping
	// CloseLost: it is another's already.
	CloseLost
)

// String gives "upgrade".
func (r CloseReason) String() string {
	return [...]string{"idle", "moved", "upgrade", "stopping", "lost"}[r]
}

// An Opening is what a resource is opened with.
type Opening struct {
	Name       string
	Generation uint64 // the fencing token, see [Generation]
	Origin     Origin
	state      payload
}

// State stores in what target points to what the resource carries. Unless its origin is [OriginCarried] it
// leaves that as it is.
func (o *Opening) State(target any) error {
	if o.Origin != OriginCarried || o.state.kind == kindNone {
		return nil
	}
	return o.state.decode(target)
}

// A ResourceCloser is a resource that wants to know when it is closed. What Close returns is what its next
// owner opens it with: any value, a []byte as it is, nil for nothing. It has 5 seconds. An error is logged,
// and has the next owner open it as lost.
//
// It is called when the methods of the resource have returned, but for those that were cut off: their
// contexts have ended.
type ResourceCloser interface {
	Close(ctx context.Context, reason CloseReason) (any, error)
}

// A ResourceResumer is a resource whose streams go on where it moves to. There Resume runs in place of the
// method that [Stream.Method] names: with the last token that came with a message of the method's
// ([Stream.SendResumable]), empty without, and with how many of its messages the caller has.
//
// When it moves, the methods of its streams get [ErrMoved] where they receive, and [Stream.Moving] is closed.
// Their contexts go on. They finish what they do with what they have received, and return nil or ErrMoved.
// What was not received is received in Resume. A method that has met neither, and one that has called
// CloseSend, has ended its stream by returning; another error is its own.
type ResourceResumer interface {
	Resume(ctx context.Context, s *Stream, token []byte, lastReceived uint64) error
}

// A ResourceType is what [HandleResource] gives: what has the methods of resources.
type ResourceType[R any] struct {
	inner *resourceType
}

type resourceType struct {
	service *Service
	options ResourceOptions
	of      reflect.Type
	open    func(ctx context.Context, o *Opening) (any, error)
	methods []*method
	names   map[string]bool
	opened  openResources
	resumes bool // it is a ResourceResumer
}

var (
	closerType  = reflect.TypeFor[ResourceCloser]()
	resumerType = reflect.TypeFor[ResourceResumer]()
)

// HandleResource gives the service resources: the calls of "/<service>/<name>/<method>" go to the one R of
// that name, in the instance that owns it. It is opened by `open` before its first call there. What open
// fails with is told to those who called. ctx ends when the resource is closed, before its Close.
//
//	rooms := lever.HandleResource(svc, openRoom, lever.ResourceOptions{})
//	rooms.Handle("Say", (*Room).Say)
//	rooms.HandleStream("JoinChan", (*Room).JoinChan)
//
// Methods of one resource run at the same time unless the options say otherwise. Where R has a method Close
// it is a [ResourceCloser], and where it has a method Resume a [ResourceResumer]. What is wrong is told by
// Serve.
func HandleResource[R any](s *Service, open func(ctx context.Context, o *Opening) (R, error), options ResourceOptions) *ResourceType[R] {
	t := &resourceType{
		service: s, options: options, of: reflect.TypeFor[R](), names: make(map[string]bool),
		open:    func(ctx context.Context, o *Opening) (any, error) { return open(ctx, o) },
		resumes: reflect.TypeFor[R]().Implements(resumerType),
	}
	s.addResource(t)
	return &ResourceType[R]{t}
}

func (s *Service) addResource(t *resourceType) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := t.check()
	switch {
	case s.started:
		err = errors.New("resources are told of before the service starts")
	case s.resource != nil:
		err = fmt.Errorf("the service has resources already, which are a %s", s.resource.of)
	}
	if err != nil && s.bad == nil {
		s.bad = invalid("resource %s: %w", t.of, err)
	}
	if s.resource == nil {
		s.resource = t
	}
}

func (t *resourceType) check() error {
	if _, has := t.of.MethodByName("Close"); has && !t.of.Implements(closerType) {
		return errors.New("its Close is not that of a lever.ResourceCloser")
	}
	if _, has := t.of.MethodByName("Resume"); has && !t.resumes {
		return errors.New("its Resume is not that of a lever.ResourceResumer")
	}
	if t.options.Serial && t.options.MaxConcurrency > 1 {
		return fmt.Errorf("it is Serial, and MaxConcurrency is %d", t.options.MaxConcurrency)
	}
	if t.options.MaxConcurrency < 0 || uint64(t.options.MaxConcurrency) > math.MaxUint32 {
		return fmt.Errorf("MaxConcurrency is %d", t.options.MaxConcurrency)
	}
	if t.options.IdleTimeout < 0 {
		return fmt.Errorf("IdleTimeout is %v", t.options.IdleTimeout)
	}
	return nil
}

func (t *resourceType) concurrencyMax() int {
	if t.options.Serial {
		return 1
	}
	return t.options.MaxConcurrency
}

// Handle adds a method of the resources: a method expression, (*Room).Say, or a function whose first
// parameter is the resource. The others are as [Service.Handle] has them.
func (t *ResourceType[R]) Handle(name string, function any) {
	t.inner.add(name, function, false)
}

// HandleStream adds a streaming method of the resources, as [Service.HandleStream] does:
//
//	func (r *Room) JoinChan(ctx context.Context, s *lever.Stream, nick string) error
func (t *ResourceType[R]) HandleStream(name string, function any) {
	t.inner.add(name, function, true)
}

func (t *resourceType) add(name string, function any, streaming bool) {
	s := t.service
	shape, err := shapeOf(function, t.of, streaming)
	if err != nil {
		s.refuse(name, err)
		return
	}
	m := &method{service: s, name: name, resource: t}
	if streaming {
		m.bindStream = shape.bindStream
	} else {
		m.bind = shape.bind
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check(m, streaming, t.names)
	t.methods = append(t.methods, m)
}

// Generation gives the fencing token of the resource in whose method, or for whose opening or closing, ctx
// was handed out: it only rises for one resource, so that a store which refuses what comes with a lower one
// is written to by the newest owner alone. 0 outside of a resource.
func Generation(ctx context.Context) uint64 {
	if info := FromContext(ctx); info != nil {
		return info.Generation()
	}
	return 0
}
