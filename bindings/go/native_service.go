package lever

// #include "shim.h"
import "C"

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// Services as the library has them.

// A nativeService is the library's service. That of an instance may be there before its Service is.
type nativeService struct {
	queue *queue
	c     *C.lever_service
	token uint64
	gone  chan struct{}

	mu    sync.Mutex
	owner *Service
}

func (n *nativeService) onState(state serviceState, status Code, message string) {
	n.mu.Lock()
	owner := n.owner
	n.mu.Unlock()
	if owner != nil {
		owner.onState(state, status, message)
	}
}

func (n *nativeService) onClosed() { close(n.gone) }

// newNativeService makes the library's service on a queue. With a config (JSON), and secrets beside it, it is
// there for clients of the same queue alone.
func newNativeService(q *queue, options ServiceOptions, config, secrets string) (*nativeService, error) {
	if options.MaxConcurrency < 0 || uint64(options.MaxConcurrency) > math.MaxUint32 {
		return nil, invalid("MaxConcurrency is %d", options.MaxConcurrency)
	}
	var t texts
	name, env, host, listen := t.add(options.Name), t.add(options.Env), t.add(options.Host), t.add(options.Listen)
	version := t.add(strings.Replace(runtime.Version(), "go", "go ", 1))
	tls, ownConfig, ownSecrets := t.addTLS(options.TLS), t.add(config), t.add(secrets)
	if t.bad {
		return nil, invalid("an option has a NUL in it")
	}
	n := &nativeService{queue: q, gone: make(chan struct{})}
	n.token = q.addObject(n)
	var failure *C.lever_error
	status := C.lever_go_service_create(q.c, t.data(), name, env, host, listen,
		flag(options.Private), version, tls,
		C.uint32_t(options.MaxConcurrency), C.int64_t(options.DrainTimeout), flag(config != ""), ownConfig,
		ownSecrets, C.uint64_t(n.token), &n.c, &failure)
	if status != C.LEVER_OK {
		q.removeObject(n.token)
		return nil, errorOf(status, failure)
	}
	return n, nil
}

// addResource tells the library of the service's resources.
func (n *nativeService) addResource(t *resourceType) error {
	streaming := func(m *method) bool { return m.bindStream != nil }
	if t.resumes && !slices.ContainsFunc(t.methods, streaming) {
		return invalid("resource %s: Resume is what streams go on in, and there is no streaming method", t.of)
	}
	var failure *C.lever_error
	status := C.lever_go_service_set_resource(n.c, C.uint32_t(t.concurrencyMax()),
		C.int64_t(t.options.IdleTimeout), flag(t.resumes), &failure)
	if status != C.LEVER_OK {
		return errorOf(status, failure)
	}
	for _, m := range t.methods {
		token := n.queue.addMethod(m)
		status := C.lever_go_service_add_resource_method(n.c, (*C.char)(unsafe.Pointer(unsafe.StringData(m.name))),
			C.size_t(len(m.name)), C.uint64_t(token))
		if status != C.LEVER_OK {
			return refusal(Code(status), fmt.Sprintf("method %s: %s", m.name, codeTexts[Code(status)]))
		}
	}
	return nil
}

// close ends the service, and waits for its last event.
func (n *nativeService) close() {
	C.lever_service_close(n.c)
	C.lever_queue_flush(n.queue.c)
	<-n.gone
}

func (n *nativeService) destroy() {
	C.lever_service_destroy(n.c)
	C.lever_queue_flush(n.queue.c)
	n.queue.removeObject(n.token)
}

// ownInstance gives the instance that a host has started this process as; nil if none has.
var ownInstance = sync.OnceValues(func() (*nativeService, error) {
	if os.Getenv("LEVER_FDS") == "" {
		return nil, nil
	}
	return newOwnQueueService(ServiceOptions{})
})

func newOwnQueueService(options ServiceOptions) (*nativeService, error) {
	q, err := openQueue()
	if err != nil {
		return nil, err
	}
	defer q.release() // the service has its own
	return newNativeService(q, options, "", "")
}
