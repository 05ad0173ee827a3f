package lever

// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"log"
	"reflect"
	"runtime/debug"
	"strings"
	"sync"
)

// Methods: what programs hand in, and how it is called.

// A method is one function of a service. `bind` reads arguments, before anything of the program runs.
type method struct {
	service  *Service
	name     string
	resource *resourceType // whose method it is; nil: the service's own
	bind     func(arguments payload) (bound, error)
	// Of a streaming method.
	bindStream func(arguments payload) (boundStream, error)
}

type (
	bound       func(ctx context.Context) (any, error)
	boundStream func(ctx context.Context, s *Stream) error
)

func isStreaming(name string) bool {
	return strings.HasSuffix(name, "Chan") || strings.HasSuffix(name, "_chan") || name == "chan"
}

var (
	contextType = reflect.TypeFor[context.Context]()
	streamType  = reflect.TypeFor[*Stream]()
	noArgument  = payload{kindValue, []byte{0x90}}
)

// Handle adds a method. The function's parameters are the arguments, after a context.Context if it wants
// one; the last may be variadic. It gives a result, an error, both or neither:
//
//	func(ctx context.Context, name string) (string, error)
//	func(a, b int) int
//	func(ctx context.Context, all ...any) error
//
// A call with other arguments is refused, unexecuted. What is wrong with a name or a function is told by
// Serve.
func (s *Service) Handle(name string, function any) {
	m := &method{service: s, name: name}
	switch f := function.(type) {
	case func(context.Context, string) (string, error):
		m.bind = bindOne(f)
	case func(context.Context, []byte) ([]byte, error):
		m.bind = bindOne(f)
	case func(context.Context, any) (any, error):
		m.bind = bindOne(f)
	default:
		shape, err := shapeOf(function, nil, false)
		if err != nil {
			s.refuse(name, err)
			return
		}
		m.bind = shape.bind
	}
	s.add(m, false)
}

// HandleFunc adds a method of one argument, and calls it without reflection.
func HandleFunc[A, R any](s *Service, name string, function func(ctx context.Context, argument A) (R, error)) {
	s.add(&method{service: s, name: name, bind: bindOne(function)}, false)
}

// HandleStream adds a streaming method: its name ends in Chan or _chan, or is chan. The function gets the
// stream after the context, if it wants one, and before the arguments. Returning nil ends the stream well,
// an error is the caller's.
//
//	func(ctx context.Context, s *lever.Stream, greeting string) error
func (s *Service) HandleStream(name string, function any) {
	shape, err := shapeOf(function, nil, true)
	if err != nil {
		s.refuse(name, err)
		return
	}
	s.add(&method{service: s, name: name, bindStream: shape.bindStream}, true)
}

func (s *Service) refuse(name string, err error) {
	if s.bad == nil {
		s.bad = invalid("method %s: %w", name, err)
	}
}

func (s *Service) add(m *method, streaming bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check(m, streaming, s.names)
	s.methods = append(s.methods, m)
}

// check is called with the mutex held. `names` are those that are taken.
func (s *Service) check(m *method, streaming bool, names map[string]bool) {
	switch {
	case s.started:
		s.refuse(m.name, errors.New("methods are added before the service starts"))
	case names[m.name]:
		s.refuse(m.name, errors.New("there is such a method already"))
	case streaming && !isStreaming(m.name):
		s.refuse(m.name, errors.New("the name of a streaming method ends in Chan or _chan, or is chan"))
	case !streaming && isStreaming(m.name):
		s.refuse(m.name, errors.New("the name is that of a streaming method, which HandleStream adds"))
	}
	names[m.name] = true
}

// ---- Arguments ----

const argumentsMax = 1 << 30

// argumentsIn gives a decoder before the first of so many arguments.
func argumentsIn(arguments payload, least, most int) (decoder, int, error) {
	if arguments.kind.raw() {
		// Bytes are the one argument.
		arguments = payload{kindValue, appendBytes([]byte{0x91}, arguments.bytes)}
	}
	d := decoder{data: arguments.bytes}
	if !isArray(d.peek()) {
		return d, 0, errors.New("the arguments are no array")
	}
	count, err := d.count(1, 0)
	if err != nil {
		return d, 0, err
	}
	if count < least || count > most {
		wanted := fmt.Sprint(least)
		if most > least {
			wanted = fmt.Sprintf("at least %d", least)
		}
		return d, 0, fmt.Errorf("%s arguments are wanted, and there are %d", wanted, count)
	}
	return d, count, nil
}

func bindOne[A, R any](f func(context.Context, A) (R, error)) func(payload) (bound, error) {
	return func(arguments payload) (bound, error) {
		var argument A
		if to, raw := any(&argument).(*[]byte); raw && arguments.kind.raw() {
			*to = append([]byte{}, arguments.bytes...)
		} else {
			d, _, err := argumentsIn(arguments, 1, 1)
			if err != nil {
				return nil, err
			}
			if err := d.into(&argument, 0); err != nil {
				return nil, fmt.Errorf("the argument: %w", err)
			}
		}
		return func(ctx context.Context) (any, error) { return f(ctx, argument) }, nil
	}
}

// A shape is how a function is called that was handed in as a value.
type shape struct {
	function   reflect.Value
	parameters []reflect.Type // those that are arguments
	variadic   bool           // the last one takes all that is left
	receiver   bool           // a resource comes first
	context    bool
	result     int // which of what it returns is the answer; -1 without
	failure    int // which is the error
}

// shapeOf reads a function's type. Its first parameter is `receiver`, unless that is nil.
func shapeOf(function any, receiver reflect.Type, streaming bool) (*shape, error) {
	v := reflect.ValueOf(function)
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("a %T is no function", function)
	}
	t := v.Type()
	s := &shape{function: v, variadic: t.IsVariadic(), result: -1, failure: -1}
	at := 0
	if s.receiver = receiver != nil; s.receiver {
		if t.NumIn() == 0 || t.In(0) != receiver {
			return nil, fmt.Errorf("%s: its first parameter is to be the resource, a %s", t, receiver)
		}
		at++
	}
	if s.context = t.NumIn() > at && t.In(at) == contextType; s.context {
		at++
	}
	if streaming {
		if at == t.NumIn() || t.In(at) != streamType {
			return nil, fmt.Errorf("%s: a streaming method takes a *lever.Stream", t)
		}
		at++
	}
	for ; at < t.NumIn(); at++ {
		s.parameters = append(s.parameters, t.In(at))
	}
	results := t.NumOut()
	if results > 0 && t.Out(results-1) == errorType {
		results--
		s.failure = results
	}
	if results > 1 || streaming && results > 0 {
		return nil, fmt.Errorf("%s: it returns more than a result and an error", t)
	}
	s.result = results - 1
	return s, nil
}

// read makes what the function is called with, leaving room before the arguments.
func (s *shape) read(arguments payload, before int) ([]reflect.Value, error) {
	fixed := len(s.parameters)
	least, limit := fixed, fixed
	if s.variadic {
		fixed--
		least, limit = fixed, argumentsMax
	}
	d, count, err := argumentsIn(arguments, least, limit)
	if err != nil {
		return nil, err
	}
	values := make([]reflect.Value, before, before+count)
	for i := range count {
		var v reflect.Value
		if i < fixed {
			v = reflect.New(s.parameters[i])
		} else {
			v = reflect.New(s.parameters[fixed].Elem())
		}
		if err := d.value(v.Elem(), 0); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		values = append(values, v.Elem())
	}
	return values, nil
}

func (s *shape) call(values []reflect.Value) (any, error) {
	results := s.function.Call(values)
	if s.failure >= 0 {
		if err, _ := results[s.failure].Interface().(error); err != nil {
			return nil, err
		}
	}
	if s.result < 0 {
		return nil, nil
	}
	return results[s.result].Interface(), nil
}

// leading is how many parameters come before a stream and the arguments.
func (s *shape) leading() int {
	n := 0
	if s.receiver {
		n++
	}
	if s.context {
		n++
	}
	return n
}

// lead fills these in.
func (s *shape) lead(values []reflect.Value, ctx context.Context) {
	at := 0
	if s.receiver {
		values[at] = reflect.ValueOf(ctx.(*callContext).target)
		at++
	}
	if s.context {
		values[at] = reflect.ValueOf(ctx)
	}
}

func (s *shape) bind(arguments payload) (bound, error) {
	values, err := s.read(arguments, s.leading())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		s.lead(values, ctx)
		return s.call(values)
	}, nil
}

func (s *shape) bindStream(arguments payload) (boundStream, error) {
	before := s.leading()
	values, err := s.read(arguments, before+1)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, stream *Stream) error {
		s.lead(values, ctx)
		values[before] = reflect.ValueOf(stream)
		_, err := s.call(values)
		return err
	}, nil
}

// ---- Running ----

// An incomingCall is a unary call that came in. They are used again; their contexts are not.
type incomingCall struct {
	method    *method
	ctx       *callContext
	arguments payload
	out       []byte
}

var incomingCalls = sync.Pool{New: func() any { return new(incomingCall) }}

func (in *incomingCall) recycle() {
	in.method, in.ctx = nil, nil
	if cap(in.arguments.bytes) > keptMax {
		in.arguments.bytes = nil
	}
	if cap(in.out) > keptMax {
		in.out = nil
	}
	incomingCalls.Put(in)
}

func (in *incomingCall) run() {
	q, id := in.ctx.queue, in.ctx.id
	run, err := in.method.bind(in.arguments)
	if err != nil {
		q.fail(id, CodeInvalidArgument, in.method.name+": "+err.Error())
		in.ctx.cancel(context.Canceled)
		in.recycle()
		return
	}
	if C.lever_go_begin(q.c, C.uint64_t(id)) != C.LEVER_OK {
		in.ctx.cancel(context.Canceled)
		q.release()
		in.recycle()
		return
	}
	var result any
	err = errGoexit // unless the method returns
	defer func() { in.answer(result, err) }()
	result, err = guarded(in.method, func() (any, error) { return run(in.ctx) })
}

func (in *incomingCall) answer(result any, err error) {
	q, id := in.ctx.queue, in.ctx.id
	in.ctx.cancel(context.Canceled)
	var answer payload
	if err == nil {
		if answer, err = encodeMessage(in.out[:0], result); err == nil {
			in.out = answer.bytes
		}
	}
	if err != nil {
		answer = encodeErrorPayload(in.out[:0], err)
		in.out = answer.bytes
	}
	q.reply(id, answer)
	in.recycle()
}

// errGoexit is what a method has failed with that ended its goroutine: t.FailNow() of a test does so.
var errGoexit = errors.New("the method ended its goroutine (runtime.Goexit)")

// guarded answers a panic of the method's as an error, and logs where it came from.
func guarded(m *method, run func() (any, error)) (result any, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			log.Printf("lever: method %s panicked: %v\n%s", m.name, caught, debug.Stack())
			err = fmt.Errorf("the method panicked: %v", caught)
		}
	}()
	return run()
}

// reply answers a call, and releases the queue that its method held.
func (q *queue) reply(id uint64, answer payload) {
	q.mu.Lock()
	record := q.append(C.LEVER_GO_REPLY, "", answer, nil)
	record.id = C.uint64_t(id)
	q.handOver()
}

func (q *queue) fail(id uint64, code Code, text string) {
	q.mu.Lock()
	q.appendFail(id, code, text)
	q.handOver()
}

// handOver is called with the mutex held by a method that is over, and lets go of both.
func (q *queue) handOver() {
	if q.active || q.submitting {
		// Whoever takes what is pending comes before the queue ends.
		q.releaseLocked()
		q.mu.Unlock()
		return
	}
	q.submit()
	q.release()
}

// run runs the method of a stream that came in.
func (s *Stream) run(ctx *callContext, m *method, bind func(arguments payload) (boundStream, error)) {
	q := ctx.queue
	defer q.release()
	defer ctx.cancel(context.Canceled)
	run, err := bind(s.arguments)
	if err != nil {
		text := m.name + ": " + err.Error()
		q.mu.Lock()
		q.appendFail(ctx.id, CodeInvalidArgument, text)
		q.submit()
		return
	}
	if C.lever_go_begin(q.c, C.uint64_t(ctx.id)) != C.LEVER_OK {
		return
	}
	s.mu.Lock()
	s.grant(s.window)
	s.mu.Unlock()
	err = errGoexit // unless the method returns
	defer func() { s.finish(err) }()
	_, err = guarded(m, func() (any, error) { return nil, run(ctx, s) })
}

func asMethodError(err error) (*MethodError, bool) {
	var own *MethodError
	ok := errors.As(err, &own)
	return own, ok
}
