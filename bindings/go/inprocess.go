package lever

// #include "shim.h"
import "C"

import (
	"context"
	"time"

	"github.com/leveros/lever/bindings/go/internal/hooks"
)

// Services and a client in one queue, without a host: what package levertest is made of.

type inProcess struct {
	queue    *queue
	services []*Service
	client   *Client
}

func init() {
	hooks.Start = func(services any, configs, secrets map[string]string, holdTime bool) (hooks.Test, error) {
		return startInProcess(services.(map[string]*Service), configs, secrets, holdTime)
	}
}

func startInProcess(services map[string]*Service, configs, secrets map[string]string, holdTime bool) (hooks.Test, error) {
	q, err := openQueue()
	if err != nil {
		return nil, err
	}
	t := &inProcess{queue: q}
	if holdTime {
		q.held.Store(true)
		C.lever_queue_hold_time(q.c)
	}
	for name, service := range services {
		config := configs[name]
		if config == "" {
			config = "null"
		}
		options := ServiceOptions{Name: name, MaxConcurrency: service.options.MaxConcurrency,
			DrainTimeout: service.options.DrainTimeout}
		err := service.start(context.Background(), func() (*nativeService, error) {
			return newNativeService(q, options, config, secrets[name])
		})
		if err != nil {
			t.Close()
			return nil, err
		}
		t.services = append(t.services, service)
	}
	if t.client, err = newClient(q, nil, Options{}, true); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

func (t *inProcess) Client() any { return t.client }

// Advance returns when all that has become due was told to whom it concerns.
func (t *inProcess) Advance(d time.Duration) error {
	if status := C.lever_queue_advance_time(t.queue.c, C.int64_t(d)); status != C.LEVER_OK {
		return refusal(Code(status), "")
	}
	told := make(chan struct{})
	t.queue.mu.Lock()
	t.queue.quiet = append(t.queue.quiet, told)
	t.queue.again = true
	t.queue.mu.Unlock()
	C.lever_queue_wake(t.queue.c)
	<-told
	return nil
}

func (t *inProcess) Close() {
	if t.client != nil {
		t.client.Close()
	}
	if t.queue.held.Swap(false) {
		C.lever_queue_resume_time(t.queue.c)
		C.lever_queue_wake(t.queue.c)
	}
	for _, service := range t.services {
		if service.resource != nil && service.resource.opened.any() {
			// Their Close is called, as where an instance stops.
			service.Drain()
			<-service.over
		}
		service.Close()
	}
	t.queue.release()
}
