package lever

// #include "shim.h"
import "C"

import (
	"context"
	"fmt"
	"log"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"
)

// How resources are opened and closed. The library asks; a goroutine each answers.

// closeTimeout is what the library gives a resource to be closed.
const closeTimeout = 5 * time.Second

// An openResource is one of a program's, with the context that it was opened in.
type openResource struct {
	value any
	ctx   *callContext
}

// openResources are those of a service, by the library's ids.
type openResources struct {
	mu   sync.Mutex
	byID map[uint64]*openResource
}

func (o *openResources) find(id uint64) *openResource {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byID[id]
}

func (o *openResources) add(id uint64, r *openResource) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byID == nil {
		o.byID = make(map[uint64]*openResource)
	}
	o.byID[id] = r
}

func (o *openResources) take(id uint64) *openResource {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.byID[id]
	delete(o.byID, id)
	return r
}

func (o *openResources) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.byID) > 0
}

// end ends the contexts of all of them: the service is closed.
func (o *openResources) end() {
	o.mu.Lock()
	all := o.byID
	o.byID = nil
	o.mu.Unlock()
	for _, r := range all {
		r.ctx.cancel(context.Canceled)
	}
}

// onResource is called by the driver.
func (t *resourceType) onResource(q *queue, event *C.lever_event) {
	id := uint64(event.resource)
	if event._type == C.LEVER_EVENT_RESOURCE_CLOSE {
		closing := t.opened.take(id)
		go t.close(id, closing, CloseReason(event.close_reason))
		return
	}
	o := &Opening{
		Name:       C.GoStringN(event.resource_name, C.int(event.resource_name_size)),
		Generation: uint64(event.generation),
		Origin:     Origin(event.origin),
		state:      payloadOf(event),
	}
	go t.openOne(id, o, t.contextFor(q, o.Name, o.Generation))
}

// contextFor makes a context that is no call's.
func (t *resourceType) contextFor(q *queue, name string, generation uint64) *callContext {
	return &callContext{queue: q, service: t.service, deadlineNs: noDeadline, resource: name, generation: generation}
}

func (t *resourceType) openOne(id uint64, o *Opening, ctx *callContext) {
	var value any
	err := errGoexit // unless open returns
	defer func() {
		if err == nil {
			t.opened.add(id, &openResource{value, ctx})
			t.service.answerOpening(id, nil)
			return
		}
		log.Printf("lever: resource %q could not be opened: %v", o.Name, err)
		ctx.cancel(context.Canceled)
		t.service.answerOpening(id, fmt.Errorf("the resource could not be opened: %w", err))
	}()
	value, err = guardedLife("open", o.Name, func() (any, error) { return t.open(ctx, o) })
}

func (t *resourceType) close(id uint64, r *openResource, reason CloseReason) {
	if r == nil { // the service has been closed
		return
	}
	r.ctx.cancel(context.Canceled)
	closer, wants := r.value.(ResourceCloser)
	if !wants {
		t.service.answerClosing(id, payload{}, nil)
		return
	}
	name := r.ctx.resource
	own, done := context.WithTimeout(t.contextFor(r.ctx.queue, name, r.ctx.generation), closeTimeout)
	var carried payload
	err := errGoexit // unless Close returns
	defer func() {
		done()
		if err != nil {
			log.Printf("lever: resource %q could not be closed (%v): %v", name, reason, err)
		}
		t.service.answerClosing(id, carried, err)
	}()
	var value any
	value, err = guardedLife("Close", name, func() (any, error) { return closer.Close(own, reason) })
	if err == nil && value != nil {
		carried, err = encodeMessage(nil, value)
	}
}

// guardedLife gives a panic as an error, and logs where it came from.
func guardedLife(what, name string, run func() (any, error)) (result any, err error) {
	defer func() {
		if caught := recover(); caught != nil {
			log.Printf("lever: %s of resource %q panicked: %v\n%s", what, name, caught, debug.Stack())
			err = fmt.Errorf("it panicked: %v", caught)
		}
	}()
	return run()
}

// ---- Answers ----

// withNative calls f while the library's service is there, and writes what it has asked for.
func (s *Service) withNative(f func(native *nativeService)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.isClosed:
	default:
		f(s.native)
		C.lever_queue_flush(s.native.queue.c)
	}
}

func (s *Service) answerOpening(id uint64, failure error) {
	s.withNative(func(native *nativeService) {
		if failure == nil {
			C.lever_resource_opened(native.c, C.uint64_t(id), C.LEVER_OK, nil, 0)
			return
		}
		text := failure.Error()
		C.lever_resource_opened(native.c, C.uint64_t(id), C.LEVER_INTERNAL,
			(*C.char)(unsafe.Pointer(unsafe.StringData(text))), C.size_t(len(text)))
	})
}

func (s *Service) answerClosing(id uint64, carried payload, failure error) {
	s.withNative(func(native *nativeService) {
		if failure == nil {
			status := C.lever_go_resource_closed(native.c, C.uint64_t(id), C.int32_t(carried.kind),
				unsafe.Pointer(unsafe.SliceData(carried.bytes)), C.size_t(len(carried.bytes)))
			if status == C.LEVER_OK {
				return
			}
			log.Printf("lever: what a resource carries cannot be sent: %s", codeTexts[Code(status)])
		}
		C.lever_resource_closed(native.c, C.uint64_t(id), C.LEVER_INTERNAL, C.int32_t(kindNone), nil, 0)
	})
}
