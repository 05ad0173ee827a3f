package lever

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A board is a resource that writes down what happens to it.
type board struct {
	seen    *journal
	name    string
	opened  context.Context
	total   atomic.Int64
	running atomic.Int64
}

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

func (j *journal) at(line string) int {
	for i, seen := range j.all() {
		if seen == line {
			return i
		}
	}
	return -1
}

func (j *journal) open(ctx context.Context, o *Opening) (*board, error) {
	info := FromContext(ctx)
	var state int64 = -1
	if err := o.State(&state); err != nil {
		return nil, err
	}
	j.add("open %s %s %d of %s %d, carries %d", o.Name, o.Origin, o.Generation, info.Resource(), Generation(ctx), state)
	switch o.Name {
	case "refuses":
		return nil, errors.New("not this one")
	case "panics":
		panic("at the opening")
	}
	return &board{seen: j, name: o.Name, opened: ctx}, nil
}

func (b *board) Close(ctx context.Context, reason CloseReason) (any, error) {
	_, limited := ctx.Deadline()
	b.seen.add("close %s %s of %s, opening over: %v, limited: %v", b.name, reason, FromContext(ctx).Resource(), b.opened.Err() != nil, limited)
	if b.name == "breaks" {
		return nil, errors.New("it cannot be closed")
	}
	return b.total.Load(), nil
}

func (b *board) Add(n int64) int64 { return b.total.Add(n) }

func (b *board) Where(ctx context.Context) []any {
	return []any{b.name, FromContext(ctx).Resource(), Generation(ctx)}
}

func (b *board) Slow() int64 {
	b.seen.add("slow %s", b.name)
	defer b.running.Add(-1)
	n := b.running.Add(1)
	time.Sleep(20 * time.Millisecond)
	return n
}

func (b *board) Hang(ctx context.Context) error {
	b.seen.add("hang %s", b.name)
	<-ctx.Done()
	b.seen.add("cut off %s", b.name)
	return ctx.Err()
}

func (b *board) CountChan(ctx context.Context, s *Stream, first ...int64) error {
	for _, n := range first {
		if err := s.Send(n); err != nil {
			return err
		}
	}
	for n, err := range Messages[int64](s) {
		if err != nil {
			return err
		}
		if err := s.Send(b.Add(n)); err != nil {
			return err
		}
	}
	return nil
}

func addBoards(s *Service, seen *journal, options ResourceOptions) {
	boards := HandleResource(s, seen.open, options)
	boards.Handle("Add", (*board).Add)
	boards.Handle("Where", (*board).Where)
	boards.Handle("Slow", (*board).Slow)
	boards.Handle("Hang", (*board).Hang)
	boards.HandleStream("CountChan", (*board).CountChan)
	s.Handle("Outside", func(ctx context.Context) []any { return []any{FromContext(ctx).Resource(), Generation(ctx)} })
}

// startBoards starts them without a host.
func startBoards(t *testing.T, options ResourceOptions, hold bool) (*inProcess, *journal) {
	t.Helper()
	seen := &journal{}
	s := NewService(ServiceOptions{DrainTimeout: 300 * time.Millisecond})
	addBoards(s, seen, options)
	run := startAlone(t, s, hold)
	t.Cleanup(run.Close)
	return run, seen
}

func startAlone(t *testing.T, s *Service, hold bool) *inProcess {
	t.Helper()
	run, err := startInProcess(map[string]*Service{"boards": s}, nil, nil, hold)
	if err != nil {
		t.Fatal(err)
	}
	return run.(*inProcess)
}

func add(t *testing.T, run *inProcess, name string, n int64) int64 {
	t.Helper()
	total, err := Invoke[int64](withLimit(t), run.client, "/boards/"+name+"/Add", n)
	if err != nil {
		t.Fatal(name, err)
	}
	return total
}

// logged gives what is logged while f runs.
func logged(f func()) string {
	var text bytes.Buffer
	log.SetOutput(&text)
	defer log.SetOutput(os.Stderr)
	f()
	return text.String()
}

func TestEachNameIsOneResource(t *testing.T) {
	run, seen := startBoards(t, ResourceOptions{}, false)
	ctx := withLimit(t)
	if a, b, c := add(t, run, "apples", 1), add(t, run, "apples", 2), add(t, run, "pears", 5); a != 1 || b != 3 || c != 5 {
		t.Error(a, b, c)
	}
	var all sync.WaitGroup
	for range 100 {
		all.Add(1)
		go func() {
			defer all.Done()
			add(t, run, "many", 1)
		}()
	}
	all.Wait()
	if total := add(t, run, "many", 0); total != 100 {
		t.Error(total)
	}
	where, err := Invoke[[]any](ctx, run.client, "/boards/a%20b%2Fc/Where")
	if err != nil || fmt.Sprint(where) != "[a b/c a b/c 1]" {
		t.Error(where, err)
	}
	outside, err := Invoke[[]any](ctx, run.client, "/boards/Outside")
	if err != nil || fmt.Sprint(outside) != "[ 0]" {
		t.Error(outside, err)
	}
	s, err := run.client.Stream(ctx, "/boards/pears/CountChan", 7)
	if err != nil {
		t.Fatal(err)
	}
	var first, second int64
	if err := errors.Join(s.Recv(&first), s.Send(2), s.Recv(&second), s.CloseSend()); err != nil || first != 7 || second != 7 {
		t.Error(first, second, err)
	}
	s.Close()
	run.services[0].Drain()
	<-run.services[0].over
	for _, name := range []string{"apples", "pears", "many", "a b/c"} {
		if seen.at(fmt.Sprintf("open %s new 1 of %s 1, carries -1", name, name)) < 0 ||
			seen.at(fmt.Sprintf("close %s stopping of %s, opening over: true, limited: true", name, name)) < 0 {
			t.Error(name, seen.all())
		}
	}
	if len(seen.all()) != 8 {
		t.Error(seen.all())
	}
	if run.services[0].resource.opened.any() {
		t.Error("what was closed is kept")
	}
}

func TestWhatIsNoMethodOfAResourceIsRefusedUnexecuted(t *testing.T) {
	run, _ := startBoards(t, ResourceOptions{}, false)
	for _, address := range []string{"/boards/x/Close", "/boards/x/Outside", "/boards/Add", "/boards/x/Nothing"} {
		_, err := Invoke[any](withLimit(t), run.client, address, 1)
		if e := trouble(t, err); e.Code != CodeNotFound || e.Executed != ExecutedNo {
			t.Error(address, err)
		}
	}
	_, err := Invoke[any](withLimit(t), run.client, "/boards/x/Add", "no number")
	if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedNo {
		t.Error(err)
	}
}

func TestCallersAreToldWhyAResourceCouldNotBeOpened(t *testing.T) {
	run, seen := startBoards(t, ResourceOptions{}, false)
	for name, why := range map[string]string{"refuses": "not this one", "panics": "it panicked: at the opening"} {
		text := logged(func() {
			_, err := Invoke[any](withLimit(t), run.client, "/boards/"+name+"/Add", 1)
			e := trouble(t, err)
			if e.Code != CodeInternal || e.Executed != ExecutedNo || e.Message != "the resource could not be opened: "+why {
				t.Error(e)
			}
		})
		if !strings.Contains(text, fmt.Sprintf("resource %q could not be opened: %s", name, why)) {
			t.Error(text)
		}
	}
	run.services[0].Drain()
	<-run.services[0].over
	for _, line := range seen.all() {
		if strings.HasPrefix(line, "close") {
			t.Error(line)
		}
	}
}

func TestAnIdleResourceIsClosedAndOpenedAgain(t *testing.T) {
	run, seen := startBoards(t, ResourceOptions{}, true)
	text := logged(func() {
		add(t, run, "breaks", 1)
		s, err := run.client.Stream(withLimit(t), "/boards/busy/CountChan", 1)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Recv(new(int64)); err != nil {
			t.Fatal(err)
		}
		run.Advance(179 * time.Second)
		if len(seen.all()) != 2 {
			t.Error(seen.all())
		}
		run.Advance(2 * time.Second)
		until(t, "it is closed", func() bool {
			return seen.at("close breaks idle of breaks, opening over: true, limited: true") >= 0
		})
		if total := add(t, run, "breaks", 1); total != 1 {
			t.Error(total)
		}
	})
	if !strings.Contains(text, `resource "breaks" could not be closed (idle): it cannot be closed`) {
		t.Error(text)
	}
	if lines := seen.all(); len(lines) != 4 {
		t.Error(lines)
	}
}

func TestAsManyCallsOfAResourceRunAsItSays(t *testing.T) {
	for most, options := range map[int64]ResourceOptions{1: {Serial: true}, 3: {MaxConcurrency: 3}} {
		run, _ := startBoards(t, options, false)
		answers := make(chan int64, 8)
		for range cap(answers) {
			go func() {
				n, _ := Invoke[int64](withLimit(t), run.client, "/boards/a/Slow")
				answers <- n
			}()
		}
		var max int64
		for range cap(answers) {
			n := receive(t, answers)
			if n == 0 {
				t.Error("a call has failed")
			}
			if n > max {
				max = n
			}
		}
		if max > most || most > 1 && max == 1 {
			t.Error(most, max)
		}
	}
}

func TestCloseComesAfterWhatRunsAndAfterWhatWasCutOff(t *testing.T) {
	run, seen := startBoards(t, ResourceOptions{}, false)
	hung := make(chan error, 1)
	go func() {
		_, err := Invoke[any](withLimit(t), run.client, "/boards/a/Hang")
		hung <- err
	}()
	slow := make(chan error, 1)
	go func() {
		_, err := Invoke[any](withLimit(t), run.client, "/boards/b/Slow")
		slow <- err
	}()
	until(t, "both run", func() bool { return seen.at("hang a") >= 0 && seen.at("slow b") >= 0 })
	run.services[0].Drain()
	if e := trouble(t, receive(t, hung)); e.Code != CodeUnavailable || e.Executed == ExecutedNo {
		t.Error(e)
	}
	if err := receive(t, slow); err != nil {
		t.Error(err)
	}
	<-run.services[0].over
	if seen.at("cut off a") < 0 || seen.at("close a stopping of a, opening over: true, limited: true") < 0 {
		t.Error(seen.all())
	}
}

func TestTheOpeningsContextEndsWithTheService(t *testing.T) {
	seen := &journal{}
	opened := make(chan context.Context, 1)
	s := NewService(ServiceOptions{})
	HandleResource(s, func(ctx context.Context, o *Opening) (*board, error) {
		opened <- ctx
		return &board{seen: seen, name: o.Name, opened: ctx}, nil
	}, ResourceOptions{}).Handle("Add", (*board).Add)
	run := startAlone(t, s, false)
	defer run.Close()
	add(t, run, "a", 1)
	ctx := receive(t, opened)
	if ctx.Err() != nil {
		t.Error(ctx.Err())
	}
	s.Close()
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

type (
	closesOtherwise struct{}
	resumes         struct{}
	plain           struct{}
)

func (closesOtherwise) Close() error { return nil }
func (resumes) Resume()              {}

func (*talk) touch() {}

func TestWrongResourcesAreToldAtTheStart(t *testing.T) {
	boards := func(s *Service, options ResourceOptions) *ResourceType[*board] {
		return HandleResource(s, (&journal{}).open, options)
	}
	for want, make := range map[string]func(s *Service){
		"lever.ResourceCloser": func(s *Service) {
			HandleResource(s, func(context.Context, *Opening) (closesOtherwise, error) { return closesOtherwise{}, nil }, ResourceOptions{})
		},
		"lever.ResourceResumer": func(s *Service) {
			HandleResource(s, func(context.Context, *Opening) (resumes, error) { return resumes{}, nil }, ResourceOptions{})
		},
		"there is no streaming method": func(s *Service) {
			HandleResource(s, func(context.Context, *Opening) (*talk, error) { return new(talk), nil }, ResourceOptions{}).
				Handle("Touch", (*talk).touch)
		},
		"has resources already":    func(s *Service) { boards(s, ResourceOptions{}); boards(s, ResourceOptions{}) },
		"it is Serial":             func(s *Service) { boards(s, ResourceOptions{Serial: true, MaxConcurrency: 2}) },
		"MaxConcurrency is -1":     func(s *Service) { boards(s, ResourceOptions{MaxConcurrency: -1}) },
		"IdleTimeout is -1s":       func(s *Service) { boards(s, ResourceOptions{IdleTimeout: -time.Second}) },
		"first parameter is to be": func(s *Service) { boards(s, ResourceOptions{}).Handle("Add", func(n int) int { return n }) },
		"there is such a method": func(s *Service) {
			b := boards(s, ResourceOptions{})
			b.Handle("Add", (*board).Add)
			b.Handle("Add", (*board).Add)
		},
		"which HandleStream adds":         func(s *Service) { boards(s, ResourceOptions{}).Handle("AddChan", (*board).Add) },
		"takes a *lever.Stream":           func(s *Service) { boards(s, ResourceOptions{}).HandleStream("AddChan", (*board).Add) },
		"name of a streaming method ends": func(s *Service) { boards(s, ResourceOptions{}).HandleStream("Count", (*board).CountChan) },
	} {
		s := NewService(ServiceOptions{Name: "boards", Host: noHost})
		make(s)
		err := s.Start(context.Background())
		if e := trouble(t, err); e.Code != CodeInvalidArgument || !strings.Contains(e.Message, want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestResourcesWithoutCloseWillDo(t *testing.T) {
	s := NewService(ServiceOptions{})
	HandleResource(s, func(context.Context, *Opening) (plain, error) { return plain{}, nil }, ResourceOptions{}).
		Handle("Add", func(_ plain, n int64) int64 { return n + 1 })
	run := startAlone(t, s, false)
	if n := add(t, run, "a", 1); n != 2 {
		t.Error(n)
	}
	run.Close()
	noGoroutinesLeft(t)
}

func TestAnOpeningsStateIsLeftAloneUnlessItIsCarried(t *testing.T) {
	encoded, err := encodeMessage(nil, map[string]int{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []Origin{OriginNew, OriginLost} {
		target := map[string]int{"b": 2}
		if err := (&Opening{Origin: origin, state: encoded}).State(&target); err != nil || target["b"] != 2 {
			t.Error(origin, target, err)
		}
	}
	var target map[string]int
	if err := (&Opening{Origin: OriginCarried, state: encoded}).State(&target); err != nil || target["a"] != 1 {
		t.Error(target, err)
	}
	var text string
	if err := (&Opening{Origin: OriginCarried, state: encoded}).State(&text); err == nil {
		t.Error("a map has gone into a string")
	}
	var raw []byte
	if err := (&Opening{Origin: OriginCarried, state: payload{kindRaw, []byte("xy")}}).State(&raw); err != nil || string(raw) != "xy" {
		t.Error(raw, err)
	}
}
