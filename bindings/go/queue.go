package lever

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A queue is the library's event loop, which has no thread of its own, and what hangs on it here.
//
// One goroutine drives it. It waits for the queue's descriptor in Go's poller; while the queue has
// something to do it runs turns of it, and lets the goroutines that it woke run between two turns. What
// they ask for meanwhile goes with the next turn, all of it in one crossing and one write. What is asked
// for while the driver waits crosses at once, by whoever asks, and is written then.
//
// Whoever has used the queue flushes it then, be it only for a question: his thread may have taken along
// what others have asked for meanwhile, whose own flush has found the queue taken. Only while the driver is
// active it is left to the driver.
//
// mu guards what is below it, and is never held across the border. A stream's mutex is taken before it.
type queue struct {
	c      *C.lever_queue
	events []C.lever_event // in C's memory
	file   *os.File
	ended  chan struct{} // closed when the driver is gone, and the queue
	held   atomic.Bool   // its time stands still

	mu         sync.Mutex
	refs       int  // clients, services and methods that run
	stopping   bool // there are none any more
	active     bool // the driver takes what is pending before it waits
	again      bool // it owes a turn because of what was asked for one by one
	submitting bool // somebody else takes what is pending
	pending    []byte
	spare      []byte
	slots      []slot
	free       []uint32
	objects    []object
	methods    []*method
	quiet      []chan struct{} // closed when the driver has nothing left to do

	// Of the driver.
	owners   []owner
	incoming []incoming // by the slot of their ids
	caller   string     // who called last
	patience patience
}

// A patience says whether it is worth waiting in C for what comes next. Where each message is answered soon,
// as between two programs that call each other one call at a time, that spares a way through Go's scheduler
// and poller, which costs more than the call. Where it was in vain it is tried more seldom.
type patience struct {
	skip, left int
}

const (
	patienceNs   = 300_000
	patienceSkip = 256 // turns, at most
)

func (p *patience) worth() bool {
	if p.left > 0 {
		p.left--
		return false
	}
	return true
}

func (p *patience) was(inVain bool) {
	if p.skip = min(2*p.skip+1, patienceSkip); !inVain {
		p.skip = 0
	}
	p.left = p.skip
}

// A slot is what a token of a call or stream of ours stands for. 0 is none.
type slot struct {
	owner
	generation uint32
	cancel     bool // as soon as the id is known
	id         uint64
}

type owner struct {
	call   *call
	stream *Stream
}

// An incoming is what came in under an id.
type incoming struct {
	id     uint64
	ctx    *callContext
	stream *Stream
}

// An object is a client or a service: what gets events of its own.
type object interface {
	onState(state serviceState, status Code, message string)
	onClosed()
}

const (
	eventsMax     = 128
	sparedMax     = 1 << 20 // bytes of a batch whose memory is kept
	recordBytes   = int(unsafe.Sizeof(C.lever_go_record{}))
	eventsVar     = "LEVER_TEST_EVENTS" // events a turn, for the tests of the queue's invariants
	fieldOverhead = 6                   // of metadata
)

func errorOf(status C.lever_status, from *C.lever_error) *Error {
	message := ""
	if from != nil {
		message = C.GoString(C.lever_error_message(from))
		C.lever_error_destroy(from)
	}
	return refusal(Code(status), message)
}

// openQueue makes a queue and starts its driver. It lasts until every reference is released.
func openQueue() (*queue, error) {
	perTurn, _ := strconv.ParseUint(os.Getenv(eventsVar), 10, 31)
	q := &queue{ended: make(chan struct{}), refs: 1}
	var failure *C.lever_error
	if status := C.lever_go_queue_create(C.uint32_t(perTurn), &q.c, &failure); status != C.LEVER_OK {
		return nil, errorOf(status, failure)
	}
	capacity := eventsMax
	if perTurn > 0 {
		capacity = min(capacity, int(perTurn))
	}
	q.events = unsafe.Slice((*C.lever_event)(C.calloc(C.size_t(capacity), C.sizeof_lever_event)), capacity)
	conn, err := q.watch()
	if err != nil {
		q.destroy()
		return nil, refusal(CodeInternal, fmt.Sprintf("the queue's descriptor cannot be watched: %v", err))
	}
	q.slots = make([]slot, 1)
	q.objects = make([]object, 1)
	q.methods = make([]*method, 1)
	go q.drive(conn)
	return q, nil
}

func (q *queue) watch() (syscall.RawConn, error) {
	fd := C.lever_go_queue_fd(q.c)
	if fd < 0 {
		return nil, syscall.EMFILE
	}
	q.file = os.NewFile(uintptr(fd), "lever queue")
	// Fails if Go's poller does not take the descriptor.
	if err := q.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return q.file.SyscallConn()
}

func (q *queue) destroy() {
	if q.file != nil {
		q.file.Close()
	}
	C.lever_queue_destroy(q.c)
	C.free(unsafe.Pointer(&q.events[0]))
}

func (q *queue) retain() {
	q.mu.Lock()
	q.refs++
	q.mu.Unlock()
}

func (q *queue) release() {
	q.mu.Lock()
	q.releaseLocked()
	q.mu.Unlock()
}

func (q *queue) releaseLocked() {
	if q.refs--; q.refs == 0 {
		q.stopping = true
		q.file.SetReadDeadline(time.Unix(1, 0)) // wakes the driver
	}
}

// ---- Driving ----

func (q *queue) drive(conn syscall.RawConn) {
	defer close(q.ended)
	defer q.destroy()
	// The poller tells of changes only: turns are run until there is nothing left to do. An error means
	// that the deadline was set, and everything is closed.
	_ = conn.Read(func(uintptr) bool { return q.work() })
}

// work runs turns until there is nothing to do. It returns true when the queue is to end.
func (q *queue) work() bool {
	q.mu.Lock()
	q.active = true
	for !q.stopping {
		batch := q.take()
		// Who waits in C is not there for others: they write by themselves.
		patient := len(batch) > 0 && !q.again && q.patience.worth()
		q.again = false
		q.active = !patient
		q.mu.Unlock()
		count := q.turn(batch, patient)
		if count > 0 {
			runtime.Gosched() // whom it woke may have something for the next turn
		}
		q.mu.Lock()
		q.active = true
		q.giveBack(batch)
		if count == 0 && len(q.pending) == 0 && !q.again {
			break
		}
	}
	q.active = false
	stopping := q.stopping
	for _, waits := range q.quiet {
		close(waits)
	}
	q.quiet = nil
	q.mu.Unlock()
	return stopping
}

func (q *queue) turn(batch []byte, patient bool) int {
	var count C.size_t
	timeout := 0
	if patient {
		timeout = patienceNs
	}
	C.lever_go_turn(q.c, unsafe.Pointer(unsafe.SliceData(batch)), C.size_t(len(batch)),
		&q.events[0], C.size_t(len(q.events)), C.int64_t(timeout), &count)
	if patient {
		q.mu.Lock()
		q.active = true
		q.mu.Unlock()
		q.patience.was(count == 0)
	}
	q.settle(batch)
	if count > 0 {
		q.deliver(q.events[:count])
	}
	return int(count)
}

// take gives what is pending, which is to be given back.
func (q *queue) take() []byte {
	batch := q.pending
	q.pending, q.spare = q.spare[:0], nil
	return batch
}

func (q *queue) giveBack(batch []byte) {
	if q.spare == nil && cap(batch) <= sparedMax {
		q.spare = batch
	}
}

// submit is called with the mutex held, after something was appended. It lets go of it.
func (q *queue) submit() {
	if q.active || q.submitting {
		q.mu.Unlock()
		return
	}
	q.submitting = true
	for len(q.pending) > 0 {
		batch := q.take()
		q.mu.Unlock()
		C.lever_go_submit(q.c, unsafe.Pointer(unsafe.SliceData(batch)), C.size_t(len(batch)))
		q.settle(batch)
		q.mu.Lock()
		q.giveBack(batch)
	}
	q.submitting = false
	q.mu.Unlock()
}

// flush is 1 if a function that is called now is to write by itself.
func (q *queue) flush() C.int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.active {
		return 0
	}
	return 1
}

// flushed is called after a function that was told by flush().
func (q *queue) flushed(flush C.int) {
	if flush != 0 {
		return
	}
	q.mu.Lock()
	active := q.active
	q.again = q.again || active
	q.mu.Unlock()
	if !active {
		C.lever_queue_flush(q.c)
	}
}

// ---- What is asked for ----

// append adds a record to what is pending, with the mutex held. The record is valid until it is let go.
func (q *queue) append(op C.uint32_t, text string, data payload, metadata []byte) *C.lever_go_record {
	at := len(q.pending)
	size := (recordBytes + len(text) + len(data.bytes) + len(metadata) + 7) &^ 7
	if at+size > cap(q.pending) {
		grown := make([]byte, at, max(2*cap(q.pending), at+size, 4096))
		copy(grown, q.pending)
		q.pending = grown
	}
	q.pending = q.pending[:at+size]
	record := (*C.lever_go_record)(unsafe.Pointer(&q.pending[at]))
	*record = C.lever_go_record{
		bytes: C.uint32_t(size), op: op, kind: C.int32_t(data.kind),
		text_bytes: C.uint32_t(len(text)), payload_bytes: C.uint32_t(len(data.bytes)),
		metadata_bytes: C.uint32_t(len(metadata)),
	}
	to := q.pending[at+recordBytes:]
	to = to[copy(to, text):]
	to = to[copy(to, data.bytes):]
	copy(to, metadata)
	return record
}

// newSlot gives a token for a call or stream, with the mutex held.
func (q *queue) newSlot(of owner) uint64 {
	var n uint32
	if last := len(q.free) - 1; last >= 0 {
		n = q.free[last]
		q.free = q.free[:last]
	} else {
		n = uint32(len(q.slots))
		q.slots = append(q.slots, slot{})
	}
	q.slots[n].owner = of
	return uint64(q.slots[n].generation)<<32 | uint64(n)
}

// slotOf gives what a token stands for, with the mutex held; nil if it is over.
func (q *queue) slotOf(token uint64) *slot {
	at := &q.slots[uint32(token)]
	if at.generation != uint32(token>>32) {
		return nil
	}
	return at
}

func (q *queue) freeSlot(token uint64) {
	n := uint32(token)
	q.slots[n] = slot{generation: q.slots[n].generation + 1}
	q.free = append(q.free, n)
}

// cancel cancels a call of ours, which holds the client while it is called.
func (q *queue) cancel(token uint64) {
	q.mu.Lock()
	var id uint64
	if at := q.slotOf(token); at != nil {
		id = at.id
		at.cancel = true
	}
	q.mu.Unlock()
	if id == 0 {
		return // over, or not begun: settle() does it
	}
	flush := q.flush()
	C.lever_go_call_cancel(q.c, C.lever_call(id), flush)
	q.flushed(flush)
}

// settle tells those whose requests a batch had what has come of them.
func (q *queue) settle(batch []byte) {
	if len(batch) == 0 {
		return
	}
	var refused []refused
	var cancel []uint64
	q.mu.Lock()
	for at := 0; at < len(batch); {
		record := (*C.lever_go_record)(unsafe.Pointer(&batch[at]))
		at += int(record.bytes)
		switch {
		case record.op == C.LEVER_GO_CALL || record.op == C.LEVER_GO_OPEN:
			slot := q.slotOf(uint64(record.token))
			if slot == nil {
				continue // it has ended already
			}
			if record.status != C.LEVER_OK {
				refused = append(refused, refusedOf(slot.owner, record))
				q.freeSlot(uint64(record.token))
				continue
			}
			slot.id = uint64(record.id)
			if slot.cancel {
				cancel = append(cancel, slot.id)
			}
			if slot.stream != nil {
				refused = append(refused, refusedOf(slot.owner, record))
			}
		case record.op == C.LEVER_GO_REPLY && record.status != C.LEVER_OK:
			q.appendFail(uint64(record.id), CodeInternal, "the answer of the method cannot be sent")
			q.again = true
		}
	}
	left := len(q.pending) > 0 && !q.active && !q.submitting
	if left {
		q.submit()
	} else {
		q.mu.Unlock()
	}
	for _, it := range refused {
		it.tell()
	}
	for _, id := range cancel {
		C.lever_go_call_cancel(q.c, C.lever_call(id), 1)
	}
}

// A refused is what became of a request to begin something; nil without error: it was accepted.
type refused struct {
	owner
	id  uint64
	err *Error
}

func refusedOf(of owner, record *C.lever_go_record) refused {
	it := refused{owner: of, id: uint64(record.id)}
	if record.status != C.LEVER_OK {
		it.err = errorOf(C.lever_status(record.status), record.error)
	}
	return it
}

func (r refused) tell() {
	if r.call != nil {
		r.call.refuse(r.err)
	} else {
		r.stream.opened(r.id, r.err)
	}
}

// appendFail answers a call that came in with a status of the platform, with the mutex held.
func (q *queue) appendFail(id uint64, code Code, text string) {
	record := q.append(C.LEVER_GO_FAIL, text, payload{}, nil)
	record.id = C.uint64_t(id)
	record.status = C.int32_t(code)
}

// ---- Objects ----

func (q *queue) addObject(o object) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refs++
	for i, at := range q.objects[1:] {
		if at == nil {
			q.objects[i+1] = o
			return uint64(i + 1)
		}
	}
	q.objects = append(q.objects, o)
	return uint64(len(q.objects) - 1)
}

func (q *queue) removeObject(token uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.objects[token] = nil
	q.releaseLocked()
}

func (q *queue) addMethod(m *method) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.methods = append(q.methods, m)
	return uint64(len(q.methods) - 1)
}
